"""The weights that ship: whole, small, the same in both files, and run without torch."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from occ_perception.catalogue import NETWORKS
from occ_perception.datasets.sample_world import make_street, render_frame, sensor_frame
from occ_perception.engines.select import shipped_file
from occ_perception.runtime.predictor import Predictor

SHIPPED = [name for name, row in NETWORKS.items() if row.weights]


@pytest.mark.parametrize('name', SHIPPED)
def test_files_are_small_and_the_card_tells_how_they_were_made(name):
    for suffix in ('.safetensors', '.onnx'):
        assert 100_000 < shipped_file(name + suffix).stat().st_size <= 20e6
    card = shipped_file(f'{name}.md').read_text()
    assert f'occ train {name}' in card
    scores = json.loads(re.search(r'```json\n(.*?)```', card, re.DOTALL)[1])
    assert scores['network']['miou'] >= 10 + max(scores['prior']['miou'], scores['lidar']['miou'])
    assert scores['network']['geometric_iou'] > max(scores['prior_geometry']['geometric_iou'], scores['lidar']['geometric_iou'])


@pytest.mark.parametrize('name', SHIPPED)
def test_exporting_again_gives_the_shipped_onnx(name, tmp_path):
    pytest.importorskip('onnxscript')
    from occ_perception.engines.export import export_onnx

    assert all(file.good for file in export_onnx(name, None, tmp_path / 'again.onnx'))
    rendered = render_frame(make_street(200_950, 2.0), 1.0, sweep=False, truth=False)
    frame = sensor_frame(rendered)
    shipped = Predictor(name, 'openvino').predict(frame).labels
    assert (Predictor(name, 'openvino', tmp_path / 'again.onnx').predict(frame).labels == shipped).mean() >= 0.9999
    assert len(np.unique(shipped)) > 8


def test_prediction_needs_no_torch():
    program = '''
import sys
for name in ('torch', 'onnx', 'onnxruntime', 'cv2', 'rclpy'):
    sys.modules[name] = None
import numpy as np
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.predictor import Predictor
forward = np.array([[0., 0, 1, 1], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
intrinsics = np.array([[633., 0, 400], [0, 633, 240], [0, 0, 1]])
camera = CameraImage('CAM_FRONT', 0, np.zeros((450, 800, 3), np.uint8), intrinsics, forward, np.eye(4))
prediction = Predictor('scocc_sample').predict(SensorFrame(0, np.eye(4), {'CAM_FRONT': camera}))
print(prediction.labels.shape)
'''
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert '(200, 200, 16)' in done.stdout
