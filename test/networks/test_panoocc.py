"""PanoOcc: its checkpoints' keys, its parts against plain formulas, and its stages against what the published code gives."""

from __future__ import annotations

from pathlib import Path

import key_tables
import numpy as np
import pytest
import reference_inputs
import torch
import torch.nn.functional as F

from occ_perception.catalogue import PANOOCC_CAMERAS, ImagePreprocessing, entry
from occ_perception.geometry.ego_motion import motion_vector
from occ_perception.geometry.transforms import matrix
from occ_perception.geometry.volume_warp import volume_warp
from occ_perception.geometry.voxel_views import ViewCapacityError, ViewCaps, build_view_tables, query_points
from occ_perception.networks.panoocc.config import CONFIGS, PanoOccConfig
from occ_perception.networks.panoocc.encoder import PositionalEncoding, ViewTensors
from occ_perception.networks.panoocc.network import PanoOcc, occupancy_labels
from occ_perception.networks.panoocc.temporal import volume_tokens
from occ_perception.networks.parts import deformable_attention
from occ_perception.networks.parts.deformable_attention import ImageAttention, VoxelSelfAttention
from occ_perception.networks.parts.deformable_conv import DeformableConv2d, DeformableConv3
from occ_perception.networks.parts.image_input import normalised
from occ_perception.networks.parts.volume_warp import warp_volume

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'
SMALL = CONFIGS['panoocc-small']
PICTURES = entry('panoocc-small').preprocessing
TOLERANCE = 1e-5
"""Relative rms error. Equivalent implementations differ by some 1e-7."""
MOVED_TOLERANCE = 1e-2
"""Behind the deformable convolutions. With the goldens' random weights their taps are moved by 16 pixels rms, so that rounding is
enlarged by every further layer: the same layers computed in float64 differ from the recorded float32 figures by 8e-4, and in
float32 by 3e-4 to 3e-3 with how the last bits fall."""


def fill(module: torch.nn.Module, prefix: str) -> torch.nn.Module:
    """The goldens' weights for a part of the network whose keys begin so."""
    table = {f'{prefix}.{key}': (tuple(value.shape), str(value.dtype)) for key, value in module.state_dict().items()}
    state = {key.removeprefix(f'{prefix}.'): torch.from_numpy(np.asarray(value))
             for key, value in reference_inputs.weights(table, 'flashocc').items()}
    module.load_state_dict(state)
    return module.eval()


def relative_error(found: torch.Tensor, golden: np.lib.npyio.NpzFile, stage: str) -> float:
    expected = golden[f'{stage}/value'].astype(np.float64)
    assert found.numel() == np.prod(golden[f'{stage}/shape']), stage
    got = found.numpy().reshape(-1)[golden[f'{stage}/index']]
    return float(np.sqrt(((got - expected) ** 2).mean() / (expected ** 2).mean()))


def reference_view(age: int) -> tuple[np.ndarray, np.ndarray]:
    """picture_from_ego (6, 3, 4) float32 of the reference rig, and fixed_from_ego, so many key frames back."""
    ego_from_camera, fixed_from_ego = reference_inputs.poses(age)
    names = list(reference_inputs.CAMERAS)
    reference = fixed_from_ego[1]  # the front camera's exposure is the key time
    out = []
    for name in PANOOCC_CAMERAS:
        focal, cx, cy = reference_inputs.CAMERAS[name][:3]
        camera = names.index(name)
        k = np.array([[focal, 0, cx], [0, focal, cy - 36], [0, 0, 1]])
        to_unit = np.diag([0.5 / 800, 0.5 / 448, 1])
        out.append(to_unit @ k @ np.linalg.inv(np.linalg.inv(reference) @ fixed_from_ego[camera] @ ego_from_camera[camera])[:3])
    return np.stack(out).astype(np.float32), reference


def reference_motion(age: int, oldest: int) -> np.ndarray:
    """What the published test code makes of the reference drive; the CAN bus signals are random numbers there."""
    pose = reference_inputs.poses(age)[1][1]
    before = np.eye(4) if age == oldest else reference_inputs.poses(age + 1)[1][1]
    vector = motion_vector(pose, None, delta_from=before)
    vector[7:16] = reference_inputs.generator(f'can_bus/{age}').standard_normal(9)
    return vector


def test_branches_that_checkpoints_repeat_take_the_values_of_the_last():
    network = PanoOcc(PanoOccConfig(queries=(10, 10, 4), boxes=5, encoder_layers=1, past_frames=0), PICTURES)
    state = network.state_dict()
    for layer in range(3):
        state[f'pts_bbox_head.cls_branches.{layer}.6.bias'] = torch.full((10,), float(layer))
    network.load_state_dict(state)
    assert network.pts_bbox_head.cls_branches[0][6].bias.tolist() == [2.0] * 10


def test_deformable_convolution_is_the_published_one():
    """Against the definition, tap by tap."""
    torch.manual_seed(0)
    layer = DeformableConv2d(4, 3)
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.3)
    x = torch.randn(2, 4, 5, 7)
    with torch.no_grad():
        found, moved = layer(x), layer.conv_offset(x)
    expected = torch.zeros_like(found)
    padded = F.pad(x, (20, 20, 20, 20))
    for image, row, column, tap in np.ndindex(2, 5, 7, 9):
        y = row + tap // 3 - 1 + float(moved[image, 2 * tap, row, column])
        at = column + tap % 3 - 1 + float(moved[image, 2 * tap + 1, row, column])
        top, left = int(np.floor(y)), int(np.floor(at))
        dy, dx = y - top, at - left
        corner = padded[image, :, top + 20:top + 22, left + 20:left + 22]
        value = (corner * torch.tensor([[(1 - dy) * (1 - dx), (1 - dy) * dx], [dy * (1 - dx), dy * dx]])).sum((1, 2))
        weight = moved[image, 18 + tap, row, column].sigmoid()
        expected[image, :, row, column] += (layer.weight[:, :, tap // 3, tap % 3] @ (weight * value)).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_deformable_convolution_three_is_the_published_one():
    torch.manual_seed(0)
    groups, scale = 2, 1.71
    layer = DeformableConv3(8, groups, scale).eval()
    x = torch.randn(1, 4, 6, 8)
    with torch.no_grad():
        found = layer(x)
        seen = layer.dw_conv(x.permute(0, 3, 1, 2))[0]
        offsets = layer.sampling_offsets(seen).unflatten(-1, (groups, 9, 2))
        weights = layer.attention_weights(seen).unflatten(-1, (groups, 9)).softmax(-1)
        value = F.pad(layer.value_proj(x)[0].permute(2, 0, 1), (1, 1, 1, 1))
        out = torch.zeros(4, 6, 8)
        for row, column, group, tap in np.ndindex(4, 6, groups, 9):
            dx, dy = offsets[row, column, group, tap].tolist()
            at, y = column + 1 + scale * (tap // 3 - 1 + dx), row + 1 + scale * (tap % 3 - 1 + dy)
            for yy in (int(np.floor(y)), int(np.floor(y)) + 1):
                for xx in (int(np.floor(at)), int(np.floor(at)) + 1):
                    if 0 <= yy < 6 and 0 <= xx < 8:
                        share = (1 - abs(y - yy)) * (1 - abs(at - xx)) * weights[row, column, group, tap]
                        out[row, column, 4 * group:4 * group + 4] += share * value[4 * group:4 * group + 4, yy, xx]
        torch.testing.assert_close(found, layer.output_proj(out)[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('past', [False, True])
def test_voxels_look_at_the_first_values_as_at_a_map(past, monkeypatch):
    """The published kernel takes the first H * W of all H * W * Z values for the map."""
    torch.manual_seed(0)
    height, width, levels, heads, points = 4, 4, 3, 2, 2
    layer = VoxelSelfAttention(8, heads, points, (height, width, levels))
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.5)
    tokens, position, previous = torch.randn(3, height * width * levels, 8)
    before = previous if past else tokens
    with torch.no_grad():
        whole = layer(tokens, position, previous if past else None)
        asked = torch.cat([before, tokens + position], -1)
        offsets = layer.sampling_offsets(asked).reshape(-1, heads, 2, points, 2)
        weights = layer.attention_weights(asked).reshape(-1, heads, 2, points).softmax(-1)
        values = [layer.value_proj(each)[:height * width].reshape(height, width, heads, 4) for each in (before, tokens)]
        out = torch.zeros(len(tokens), heads, 4)
        for token, head, queue, point in np.ndindex(len(tokens), heads, 2, points):
            row, column = token // (width * levels), token // levels % width
            dx, dy = offsets[token, head, queue, point].tolist()
            at, y = column + dx, row + dy  # (column + .5) / W + dx / W, in pixels from the first one's middle
            for yy in (int(np.floor(y)), int(np.floor(y)) + 1):
                for xx in (int(np.floor(at)), int(np.floor(at)) + 1):
                    if 0 <= yy < height and 0 <= xx < width:
                        share = (1 - abs(y - yy)) * (1 - abs(at - xx)) * weights[token, head, queue, point] / 2
                        out[token, head] += share * values[queue][yy, xx, head]
        torch.testing.assert_close(whole, layer.output_proj(out.flatten(1)) + tokens, rtol=1e-4, atol=1e-5)
        monkeypatch.setattr(deformable_attention, 'SAMPLES_AT_ONCE', 200)
        torch.testing.assert_close(layer(tokens, position, previous if past else None), whole)


def test_images_are_looked_at_level_by_level(monkeypatch):
    torch.manual_seed(0)
    layer = ImageAttention(8, 2, 2, 3)
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.3)
    pyramid, queries, places = [torch.randn(1, 8, 6, 10), torch.randn(1, 8, 3, 5)], torch.randn(7, 8), torch.rand(7, 2)
    with torch.no_grad():
        values = [level[0] for level in layer.values(pyramid)]
        found = layer(queries, places, values)
        offsets = layer.sampling_offsets(queries).reshape(7, 2, 2, 3, 2)
        weights = layer.attention_weights(queries).reshape(7, 2, 6).softmax(-1).reshape(7, 2, 2, 3)
        expected = torch.zeros(7, 2, 4)
        for query, head, level, point in np.ndindex(7, 2, 2, 3):
            height, width = pyramid[level].shape[-2:]
            place = places[query] + offsets[query, head, level, point] / torch.tensor([width, height])
            sample = F.grid_sample(values[level][head:head + 1], (2 * place - 1).reshape(1, 1, 1, 2), align_corners=False)
            expected[query, head] += weights[query, head, level, point] * sample[0, :, 0, 0]
        torch.testing.assert_close(found, expected.flatten(1), rtol=1e-4, atol=1e-5)
        monkeypatch.setattr(deformable_attention, 'SAMPLES_AT_ONCE', 60)
        torch.testing.assert_close(layer(queries, places, values), found)


def test_volumes_move_as_three_dimensional_sampling_moves_them():
    torch.manual_seed(0)
    volume = torch.randn(3, 4, 6, 5)
    move = matrix(np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]), (1.3, -0.4, 0.7))
    move[2, :2] = 0.02, -0.03
    warp = torch.from_numpy(volume_warp(move, (-5.0, -6.0, -1.0), (10.0, 12.0, 4.0)))
    centres = [(2 * torch.arange(size) + 1) / size - 1 for size in (4, 6, 5)]
    z, y, x = torch.meshgrid(*centres, indexing='ij')
    grid = torch.stack([x, y, z, torch.ones_like(x)], -1) @ warp.T
    expected = F.grid_sample(volume[None], grid[None, ..., :3], align_corners=False)[0]
    torch.testing.assert_close(warp_volume(volume, warp), expected, rtol=1e-4, atol=1e-5)


def test_pictures_are_halved_and_padded_after_normalisation():
    images = torch.randint(0, 256, (1, 4, 6, 3), dtype=torch.uint8)
    found = normalised(images, ImagePreprocessing(4, 6, mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0), halved=True, pad_to=4))
    assert found.shape == (1, 3, 4, 4)
    blue = images[0, :2, :2, 2].float().mean() - 1
    assert float(found[0, 0, 0, 0]) == pytest.approx(float(blue))
    assert not found[0, :, 2:].any() and not found[0, :, :, 3].any()
    straight = normalised(images, ImagePreprocessing(4, 6, mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), channels='rgb'))
    assert float(straight[0, 0, 1, 2]) == pytest.approx((float(images[0, 1, 2, 0]) - 1) / 2)


def test_cameras_see_the_published_voxels():
    golden = np.load(GOLDEN / 'panoocc-small.npz')
    points = query_points(SMALL.queries, SMALL.origin_m, SMALL.extent_m)
    views, _ = reference_view(0)
    tables = build_view_tables(points, views, np.ones(6, bool))
    assert tables.count.tolist() == golden['f4/visible'].tolist()
    seen = np.zeros((6, len(points), 2), np.float32)
    for camera, count in enumerate(tables.count):
        seen[camera, tables.seen[camera, :count]] = tables.places[camera, :count]
    everywhere = np.einsum('nij,qj->nqi', views, np.concatenate([points, np.ones((len(points), 1), np.float32)], 1))
    # the published code leaves places of voxels behind a camera as they come out
    depth = np.maximum(everywhere[..., 2:], 1e-5)
    index, value = golden['f4/reference_points_cam@0/index'], golden['f4/reference_points_cam@0/value']
    shown = np.where(seen != 0, seen, everywhere[..., :2] / depth).reshape(-1)[index]
    inside = (value > 0) & (value < 1)
    np.testing.assert_allclose(shown[inside], value[inside], rtol=1e-3, atol=1e-5)


def test_view_tables_lead_back_to_every_voxel():
    points = query_points((6, 6, 4), (-3.0, -3.0, -1.0), (6.0, 6.0, 4.0))
    k = np.array([[40.0, 0, 50], [0, 40, 30], [0, 0, 1]])
    forward = np.linalg.inv(matrix(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), (0, 0, 0.5)))[:3]
    views = np.stack([np.diag([1 / 100, 1 / 60, 1]) @ k @ forward] * 2)
    tables = build_view_tables(points, views, np.array([True, True]))
    rows = tables.seen.reshape(-1)
    for query, slots in enumerate(tables.slots):
        found = [slot for slot in slots if slot < rows.size]
        assert all(rows[slot] == query for slot in found)
        assert len(found) == 2 * (query in tables.seen[0, :tables.count[0]])
    assert build_view_tables(points, views, np.array([True, False])).count[1] == 0
    with pytest.raises(ViewCapacityError, match='export it for this rig'):
        build_view_tables(points, views, np.array([True, True]), ViewCaps(3, 2))


def test_first_attention_and_ego_motion_equal_the_published_ones():
    position = 4
    golden = np.load(GOLDEN / 'panoocc-small.npz')
    motion = torch.from_numpy(reference_motion(4 - position, 4))
    assert relative_error(motion, golden, f'f{position}/can_bus_in@0') < TOLERANCE
    head = 'pts_bbox_head'
    with torch.device('meta'):
        transformer = PanoOcc(SMALL, PICTURES).pts_bbox_head.transformer
    mlp = fill(transformer.can_bus_mlp.to_empty(device='cpu'), f'{head}.transformer.can_bus_mlp')
    layer = fill(VoxelSelfAttention(256, 8, 8, SMALL.queries), f'{head}.transformer.cam_encoder.layers.0.attentions.0')
    encoding = fill(PositionalEncoding(SMALL), f'{head}.positional_encoding')
    queries = fill(torch.nn.Embedding(40000, 256), f'{head}.bev_embedding')
    with torch.inference_mode():
        embedded = mlp(motion)
        assert relative_error(embedded, golden, f'f{position}/can_bus_embed@0') < TOLERANCE
        found = layer(queries.weight + embedded, encoding())
    assert relative_error(found, golden, f'f{position}/encoder_layer0_self_attn.0@0') < TOLERANCE


def recorded_by(seen: dict[str, torch.Tensor], module: torch.nn.Module, name: str):
    return module.register_forward_hook(lambda _module, _inputs, out: seen.update({name: out.clone()}))


@pytest.mark.heavy
def test_every_stage_equals_the_published_code():
    """Five key frames of the reference drive, of which the first and the last are computed: the others are not looked at."""
    golden = np.load(GOLDEN / 'panoocc-small.npz')
    network = PanoOcc(SMALL, PICTURES).eval()
    state = reference_inputs.weights({key: (tuple(shape), dtype) for key, (shape, dtype)
                                      in key_tables.module_table(network).items()}, 'flashocc')
    state['pts_bbox_head.code_weights'] = network.pts_bbox_head.code_weights.numpy()
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in state.items()})
    points = query_points(SMALL.queries, SMALL.origin_m, SMALL.extent_m)
    errors, before = {}, None
    transformer = network.pts_bbox_head.transformer
    for position, age in ((0, 4), (4, 0)):
        seen: dict[str, torch.Tensor] = {}
        hooks = []
        for number, layer in enumerate(transformer.cam_encoder.layers):
            for name, module in (('_self_attn', layer.attentions[0]), ('_cross_attn', layer.attentions[1]), ('', layer)):
                hooks.append(recorded_by(seen, module, f'encoder_layer{number}{name}.0'))
        views, pose = reference_view(age)
        tables = ViewTensors(*map(torch.from_numpy, build_view_tables(points, views, np.ones(6, bool)).arrays().values()))
        names = list(reference_inputs.CAMERAS)
        pictures = np.stack([reference_inputs.image(432, 800, names.index(name), age) for name in PANOOCC_CAMERAS])
        tensor = torch.from_numpy(pictures[..., ::-1].astype(np.float32) - np.array(PICTURES.mean, np.float32))
        with torch.inference_mode():
            maps = network.img_backbone(F.pad(tensor.permute(0, 3, 1, 2), (0, 0, 0, 16)))
            pyramid = network.img_neck(maps)
            volume = network.encode(pyramid, tables, torch.from_numpy(reference_motion(age, 4)))
            past = []
            if before is not None:
                # the published code takes these inverses in float32
                moved = np.linalg.inv(np.linalg.inv(pose.astype(np.float32)) @ before[1].astype(np.float32))
                past = [warp_volume(before[0], torch.from_numpy(volume_warp(moved, SMALL.origin_m, SMALL.extent_m)))]
                seen['prev_voxels_aligned'] = past[0].permute(0, 2, 3, 1)
            fused = network.fuse(volume, past)
            output = network.decode(volume, fused)
            fine, occupied = transformer.voxel_decoder(fused)
        for hook in hooks:
            hook.remove()
        before = volume, pose
        seen |= {f'img_backbone.{i}': x for i, x in enumerate(maps)} | {f'img_neck.{i}': x for i, x in enumerate(pyramid)}
        seen |= {'temporal_encoder.0': volume_tokens(fused), 'voxel_feat': fine, 'voxel_det': occupied,
                 'occ_logits_xyz': output.logits.permute(3, 2, 1, 0), 'det_occ_xyz': output.occupied.permute(2, 1, 0)}
        errors |= {f'f{position}/{name}': relative_error(value, golden, f'f{position}/{name}@0') for name, value in seen.items()
                   if f'f{position}/{name}@0/value' in golden.files}
        for name, value in (('all_cls_scores', output.boxes.scores), ('all_bbox_preds', output.boxes.codes)):
            recorded = golden[f'f{position}/{name}@0/value'], golden[f'f{position}/{name}@0/index'] - 2 * 9000
            last = recorded[1] >= 0  # of the three decoder layers
            got, expected = value.numpy().reshape(-1)[recorded[1][last]], recorded[0][last]
            errors[f'f{position}/{name}'] = float(np.sqrt(((got - expected) ** 2).mean() / (expected ** 2).mean()))
        labels = occupancy_labels(output.logits, output.occupied).numpy().reshape(-1)
        assert (labels[golden[f'f{position}/labels/index']] == golden[f'f{position}/labels/value']).mean() > 0.999
    exact = ('img_backbone.0', 'encoder_layer0_self_attn.0')
    beyond = {name: error for name, error in errors.items()
              if error >= (TOLERANCE if name.endswith(exact) else MOVED_TOLERANCE)}
    assert len(errors) > 40 and not beyond, errors


@pytest.mark.heavy
@pytest.mark.parametrize(('name', 'recorded', 'setup'), [
    ('panoocc-panoptic-small-4f', 'panoptic_PanoOcc_small_4f', 'panoptic_small'),
    ('panoocc-panoptic-base-4f', 'panoptic_PanoOcc_base_4f', 'panoptic_base'),
    ('panoocc-panoptic-small-1f', 'panoptic_PanoOcc_small_1f', 'panoptic_small')])
def test_panoptic_stages_equal_the_published_code(name, recorded, setup, shared, monkeypatch):
    """Two key frames in a row, where recordings of them are at hand."""
    path = shared / 'conformance' / 'golden' / 'panoocc' / f'{recorded}.npz'
    if not path.is_file():
        pytest.skip(f'no recording at {path}')
    monkeypatch.syspath_prepend(str(shared / 'conformance'))
    import deterministic
    import panoocc_inputs

    golden, row, config = np.load(path), entry(name), CONFIGS[name]
    network = PanoOcc(config, row.preprocessing).eval()
    table = {key: value for key, value in key_tables.module_table(network).items() if not key.endswith('code_weights')}
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in deterministic.fill_state(table).items()},
                            strict=False)
    points = query_points(config.queries, config.origin_m, config.extent_m)
    errors, before, last = {}, None, (np.zeros(3), 0.0)
    for position, age in ((0, 1), (1, 0)):
        given = panoocc_inputs.frame(age, setup)
        height, width = given['img_shape'][:2]
        unit = np.diag([1 / width, 1 / height, 1.0])
        tables = build_view_tables(points, unit @ given['lidar2img'][:, :3], np.ones(6, bool))
        motion = given['can_bus'].copy()
        place, angle = motion[:3].copy(), motion[-1]
        motion[:3] -= last[0]
        motion[-1] -= last[1]
        last = place, angle
        seen: dict[str, torch.Tensor] = {}
        hooks = [recorded_by(seen, layer, f'encoder_layer{number}.0')
                 for number, layer in enumerate(network.pts_bbox_head.transformer.cam_encoder.layers)]
        with torch.inference_mode():
            maps = network.img_backbone(torch.from_numpy(given['img'][0]))
            pyramid = network.img_neck(maps)
            volume = network.encode(pyramid, ViewTensors(*map(torch.from_numpy, tables.arrays().values())),
                                    torch.from_numpy(motion.astype(np.float32)))
            past = []
            if before is not None and config.past_frames:
                mount = given['lidar2ego']
                moved = np.linalg.inv(np.linalg.inv(mount) @ np.linalg.inv(given['ego2global']) @ before[1] @ mount)
                moved[2, 3] = 0
                past = [warp_volume(before[0], torch.from_numpy(volume_warp(moved, config.origin_m, config.extent_m)))]
            fused = network.fuse(volume, past)
            output = network.decode(volume, fused)
        for hook in hooks:
            hook.remove()
        before = output.volume, given['ego2global']
        seen |= {f'img_backbone.{i}': x for i, x in enumerate(maps)} | {f'img_neck.{i}': x for i, x in enumerate(pyramid)}
        seen |= {'temporal_encoder.0': volume_tokens(fused)}
        for stage, value in seen.items():
            key = f'f{position}/{stage}@0'
            if f'{key}/val' in golden.files:
                expected = golden[f'{key}/val'].astype(np.float64)
                got = value.numpy().reshape(-1)[golden[f'{key}/idx']]
                errors[key] = float(np.sqrt(((got - expected) ** 2).mean() / (expected ** 2).mean()))
    limit = TOLERANCE if name != 'panoocc-panoptic-base-4f' else MOVED_TOLERANCE
    assert errors and max(errors.values()) < limit, errors
