"""The official-size networks on a real nuScenes frame, random weights: finite outputs, and the Predictor gives the same labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import reference_inputs
import torch
from PIL import Image

from occ_perception.catalogue import entry
from occ_perception.checkpoints import save_weights
from occ_perception.geometry.column_lift import OUTSIDE, build_lift_tables
from occ_perception.labels import UNKNOWN
from occ_perception.networks.build import build_network
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.intake.image import fit
from occ_perception.runtime.predictor import Predictor


@pytest.mark.parametrize('name', ['flashocc-r50-M0', 'scocc-r50'])
def test_real_frame_gives_finite_outputs(name, shared, tmp_path):
    folder = shared / 'real_frame'
    if not folder.is_dir():
        pytest.skip(f'no real frame at {folder}')
    calibration = json.loads((folder / 'calibration.json').read_text())
    row = entry(name)
    lidar_to_ego = np.array(calibration['lidar']['lidar_to_ego'])
    images, intrinsics, poses, cameras = [], [], [], {}
    for camera in row.cameras:
        about = calibration['cameras'][camera]
        source = np.asarray(Image.open(folder / about['file']).convert('RGB'))
        image, matrix = fit(source, np.array(about['intrinsic']), row.preprocessing)
        images.append(image)
        intrinsics.append(matrix)
        # the ego frame at the LiDAR stamp; ego motion between the exposures is part of lidar_to_camera
        poses.append(lidar_to_ego @ np.linalg.inv(np.array(about['lidar_to_camera_ego_motion_compensated'])))
        mount = np.array(about['camera_to_ego'])
        cameras[camera] = CameraImage(camera, round(1e9 * about['timestamp_s']), source, np.array(about['intrinsic']), mount,
                                      poses[-1] @ np.linalg.inv(mount))
    tables = build_lift_tables(row.frustum, np.stack(intrinsics), np.stack(poses), row.frustum.default_caps(6))
    assert (tables.slot != OUTSIDE).mean() > 0.4

    network = build_network(name)
    table = {key: (tuple(value.shape), '') for key, value in network.state_dict().items()}
    state = reference_inputs.weights(table, row.family)
    if row.family == 'scocc':
        golden = np.load(shared / 'conformance' / 'golden' / 'scocc' / f'{name}.npz')
        state = reference_inputs.calibrated(state, golden['cal/keys'], golden['cal/scale'])
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in state.items()})
    save_weights(network.state_dict(), tmp_path / 'random.safetensors', half=False)
    with torch.inference_mode():
        output = network.eval()(torch.from_numpy(np.stack(images))[None, None], LiftTensors.stack([tables]))
    assert output.logits.shape == (1, 200, 200, 16, 18)
    assert output.logits.isfinite().all()
    assert output.depth_logits.isfinite().all()
    assert len(output.logits.argmax(-1).unique()) > 3

    predictor = Predictor(name, 'torch', tmp_path / 'random.safetensors')
    prediction = predictor.predict(SensorFrame(round(1e9 * calibration['timestamp_s']), np.eye(4), cameras))
    seen = prediction.labels != UNKNOWN
    assert 0.5 < seen.mean() < 1
    assert (prediction.labels == output.logits[0].argmax(-1).numpy())[seen].mean() > 0.999
