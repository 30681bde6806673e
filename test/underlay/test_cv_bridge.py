"""Image messages to and from arrays."""

from __future__ import annotations

import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from std_msgs.msg import Header

BRIDGE = CvBridge()


@pytest.mark.parametrize(('encoding', 'shape', 'dtype'), [
    ('rgb8', (4, 6, 3), np.uint8), ('bgr8', (4, 6, 3), np.uint8), ('mono8', (4, 6), np.uint8), ('mono16', (4, 6), np.uint16),
    ('bgra8', (4, 6, 4), np.uint8), ('16UC1', (4, 6), np.uint16), ('32FC1', (4, 6), np.float32), ('8UC3', (4, 6, 3), np.uint8)])
def test_images_come_back_as_they_went(encoding, shape, dtype):
    image = (np.arange(np.prod(shape)) * 3).reshape(shape).astype(dtype)
    header = Header(frame_id='camera')
    message = BRIDGE.cv2_to_imgmsg(image, encoding=encoding, header=header)
    assert (message.height, message.width, message.encoding, message.header.frame_id) == (4, 6, encoding, 'camera')
    assert message.step == image.strides[0]
    back = BRIDGE.imgmsg_to_cv2(message)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, image)


def test_rows_may_be_padded():
    image = np.arange(12, dtype=np.uint8).reshape(2, 6)
    message = BRIDGE.cv2_to_imgmsg(image, 'mono8')
    message.width = 4
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), image[:, :4])


def test_colour_orders_are_converted():
    image = np.random.default_rng(1).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    message = BRIDGE.cv2_to_imgmsg(image, 'rgb8')
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, 'bgr8'), image[..., ::-1])
    grey = BRIDGE.imgmsg_to_cv2(message, 'mono8')
    assert np.abs(grey - image @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert BRIDGE.imgmsg_to_cv2(message, 'rgba8')[..., 3].min() == 255
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(grey, 'mono8'), 'rgb8'), np.stack([grey] * 3, -1))


def test_what_does_not_fit_is_refused():
    with pytest.raises(CvBridgeError, match='encoding specified as rgb8'):
        BRIDGE.cv2_to_imgmsg(np.zeros((2, 2), np.uint8), 'rgb8')
    message = BRIDGE.cv2_to_imgmsg(np.zeros((2, 2), np.float32), '32FC1')
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message, 'rgb8')
    message.encoding = 'no such thing'
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message)


@pytest.mark.parametrize(('form', 'tolerance'), [('jpg', 12), ('png', 0)])
def test_compressed_images_keep_their_colours(form, tolerance):
    image = np.zeros((32, 48, 3), np.uint8)
    image[..., 0] = 200
    image[:, :, 2] = np.linspace(0, 255, 48).astype(np.uint8)
    message = BRIDGE.cv2_to_compressed_imgmsg(image, form)
    assert form in message.format
    back = BRIDGE.compressed_imgmsg_to_cv2(message)
    assert np.abs(back.astype(int) - image).max() <= tolerance
    turned = BRIDGE.compressed_imgmsg_to_cv2(message, 'rgb8')
    np.testing.assert_array_equal(turned, back[..., ::-1])
