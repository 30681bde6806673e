"""Image messages to and from numpy arrays, without OpenCV."""

from cv_bridge.core import CvBridge, CvBridgeError

__all__ = ['CvBridge', 'CvBridgeError']
