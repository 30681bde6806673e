"""Inputs that an exported graph is traced and checked with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.graph_engine import BEFORE, CAMERAS, MATCHED, PAST, PAST_MAPS, PREPARED, STEREO, SWEEPS, WARPS
from occ_perception.engines.graphs import ExportedGraph
from occ_perception.geometry.camera_vector import camera_vectors, plane_sweeps, published_source
from occ_perception.geometry.column_lift import LiftCaps, LiftTables, build_lift_tables
from occ_perception.geometry.map_warp import map_warp
from occ_perception.geometry.transforms import matrix
from occ_perception.networks.parts.lift_splat import LiftTensors


def example_inputs(row: NetworkEntry, caps: LiftCaps, seed: int = 0) -> tuple[np.ndarray, LiftTables]:
    """Smooth random images (N, H, W, 3) uint8 and the lift tables of a ring of level cameras 1.5 m above the ground."""
    lift, count = row.lift, len(row.cameras)
    random = np.random.default_rng(seed)
    height, width = lift.input_height, lift.input_width
    coarse = torch.from_numpy(random.normal(0, 1, (count, 3, 8, 22))).float()
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode='bicubic')
    images = (128 + 50 * smooth).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    intrinsics, poses = example_rig(row)
    return images, build_lift_tables(lift, intrinsics, poses, caps)


def example_rig(row: NetworkEntry) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (N, 3, 3) and reference_from_camera (N, 4, 4) of a ring of cameras."""
    count, height, width = len(row.cameras), row.lift.input_height, row.lift.input_width
    intrinsics = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, 0.3 * height], [0, 0, 1]])
    angles = 2 * np.pi * np.arange(count) / count + 0.01
    poses = [matrix(np.array([[np.sin(a), 0, np.cos(a)], [-np.cos(a), 0, np.sin(a)], [0, -1, 0]]),
                    (1 + 0.5 * np.cos(a), 0.5 * np.sin(a), 1.5)) for a in angles]
    return np.stack([intrinsics] * count), np.stack(poses)


def example_feeds(row: NetworkEntry, caps: LiftCaps, graph: ExportedGraph) -> dict[str, np.ndarray]:
    """Inputs of an exported graph: example images, and a past that came from other images, half a metre behind each frame."""
    images, _ = example_inputs(row, caps)
    intrinsics, poses = example_rig(row)
    source, post = published_source(intrinsics, row.lift.input_height, row.lift.input_width)
    moved = np.stack([np.eye(4) - 0.5 * age * np.eye(4, k=3) for age in range(row.frames)])
    moved[:, 1:3, 3] = 0
    placed = [build_lift_tables(row.lift, source, pose @ poses, caps, network_from_source=post) for pose in moved]
    every = PAST in graph.inputs or (MATCHED in graph.inputs and PAST_MAPS not in graph.inputs)
    feeds: dict[str, np.ndarray] = {'images': images}
    for name in LiftTables.NAMES:
        feeds[name] = np.stack([getattr(each, name) for each in placed]) if every else getattr(placed[0], name)
    vectors = camera_vectors(source, post, poses)
    feeds[CAMERAS] = np.stack([vectors] * row.frames) if every else vectors
    if graph.inputs == ['images'] or not {PAST, PAST_MAPS, PREPARED, STEREO} & set(graph.inputs):
        return {name: feeds[name] for name in graph.inputs}
    with torch.inference_mode():
        present, past = (graph.network.frame_features(torch.from_numpy(example_inputs(row, caps, seed)[0])[None])
                         for seed in (0, 1))
        costs = None
        if present.stereo is not None and past.stereo is not None:
            sweeps = plane_sweeps(source, post, np.linalg.inv(poses) @ np.linalg.inv(moved[1]) @ poses)
            feeds |= {STEREO: present.stereo[0].numpy(), BEFORE: past.stereo[0].numpy(), SWEEPS: sweeps}
            costs = graph.network.img_view_transformer.matched(present.stereo[0], past.stereo[0], torch.from_numpy(sweeps))
            feeds[MATCHED] = np.stack([costs.numpy()] * row.frames) if every else costs.numpy()
        prepared = np.stack([present.prepared[0].numpy(), *[past.prepared[0].numpy()] * (row.frames - 1)])
        feeds[PREPARED] = prepared if every else prepared[0]
        feeds[PAST] = prepared[1:]
        if PAST_MAPS in graph.inputs:
            aware = torch.from_numpy(vectors)[None] if CAMERAS in graph.inputs else None
            own, _ = graph.network.frame_map(past.prepared, LiftTensors.stack(placed[:1]), aware,
                                             None if costs is None else costs[None])
            feeds[PAST_MAPS] = np.concatenate([own.numpy()] * (row.frames - 1))
            feeds[WARPS] = np.stack([map_warp(np.linalg.inv(pose), row.grid) for pose in moved[1:]])
    return {name: feeds[name] for name in graph.inputs}
