"""`occ bag calibrate`: bags of nuscenes2bag get the CameraInfo that it leaves out, and lose nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from converter_bags import write_nuscenes2bag
from rosbags.typesys import Stores, get_typestore
from small_bag import CAMERA_YAW, SECOND, SIZE, START_NS

from occ_perception.cli.main import main
from occ_perception.datasets.bag_reader import Bag, header_frame, header_stamp_ns
from occ_perception.datasets.dialects import CAMERA_INFO, detect

STORE = get_typestore(Stores.ROS2_JAZZY)


def intrinsics(camera: str) -> np.ndarray:
    return np.array([[100.0 + len(camera), 0, 80], [0, 100.0 + len(camera), 45], [0, 0, 1]])


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of a scene of one key frame at the time of small bags, and of another scene long after."""
    pose = {'translation': [0, 0, 0], 'rotation': [1, 0, 0, 0]}
    rows: dict[str, list[dict]] = {name: [] for name in ('sample', 'sample_data', 'calibrated_sensor', 'sensor', 'ego_pose')}
    for scene, start_ns, scale in (('later', START_NS + 1000 * SECOND, 3), ('then', START_NS, 1)):
        rows['sample'].append({'token': scene, 'timestamp': start_ns // 1000, 'scene_token': scene})
        for camera in CAMERA_YAW:
            token = f'{scene}-{camera}'
            rows['sensor'].append({'token': token, 'channel': camera, 'modality': 'camera'})
            rows['calibrated_sensor'].append({'token': token, 'sensor_token': token, **pose,
                                              'camera_intrinsic': (scale * intrinsics(camera)).tolist()})
            rows['ego_pose'].append({'token': token, 'timestamp': start_ns // 1000, **pose})
            rows['sample_data'].append({
                'token': token, 'sample_token': scene, 'ego_pose_token': token, 'calibrated_sensor_token': token, 'prev': '',
                'next': '', 'timestamp': start_ns // 1000, 'is_key_frame': True, 'width': SIZE[1], 'height': SIZE[0],
                'fileformat': 'jpg', 'filename': f'samples/{camera}/x.jpg'})
    (tmp_path / 'v1.0-mini').mkdir()
    for name, records in rows.items():
        (tmp_path / 'v1.0-mini' / f'{name}.json').write_text(json.dumps(records))
    return tmp_path


def test_every_picture_gets_the_calibration_of_its_drive(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = write_nuscenes2bag(tmp_path / 'bare', 0.5, infos=False)
    command = ['bag', 'calibrate', str(bare), '--data', str(tables), '--out', str(tmp_path / 'out')]
    assert main(command) == 0
    with Bag(bare) as before, Bag(tmp_path / 'out' / 'bare') as after:
        assert detect(after.topics, 'bag x').missing == ()
        kept = [message for message in after.messages() if not message.topic.endswith('/camera_info')]
        assert sorted(kept, key=repr) == sorted(before.messages(), key=repr)
        pictures = {(m.topic, header_stamp_ns(m.data)): m for m in kept if m.topic.endswith('/raw')}
        added = [message for message in after.messages() if message.topic.endswith('/camera_info')]
        assert Counter(m.topic.split('/')[1] for m in added) == Counter(topic.split('/')[1] for topic, _ in pictures)
        for message in added:
            info = STORE.deserialize_cdr(message.data, CAMERA_INFO)
            camera = message.topic.split('/')[1]
            picture = pictures[f'/{camera}/raw', header_stamp_ns(message.data)]
            assert (info.header.frame_id, message.recorded_ns) == (header_frame(picture.data), picture.recorded_ns)
            np.testing.assert_array_equal(info.k.reshape(3, 3), intrinsics(camera.upper()))
            np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
            assert (info.height, info.width) == SIZE
    assert f'{len(added)} CameraInfo added' in capsys.readouterr().out
    assert main(command) == 2
    assert 'exists already' in capsys.readouterr().err


def test_what_cannot_be_calibrated_says_why(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write_nuscenes2bag(tmp_path / 'whole', 0.5)
    rest = ['--data', str(tables), '--out', str(tmp_path / 'out')]
    assert main(['bag', 'calibrate', str(whole), *rest]) == 2
    assert 'there is nothing to add' in capsys.readouterr().err
    bare = write_nuscenes2bag(tmp_path / 'bare', 0.5, infos=False)
    samples = tables / 'v1.0-mini' / 'sample.json'
    samples.write_text(samples.read_text().replace(str(START_NS // 1000), str(START_NS // 1000 + 5_000_000)))
    assert main(['bag', 'calibrate', str(bare), *rest]) == 2
    assert 'has no scene that was driven at 1599999999.958 s' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
