"""A generated data set on disk: many scenes, several processes, one progress bar; finished scenes are kept."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from occ_perception.datasets.nuscenes_tables import fixed_tables, write_tables
from occ_perception.datasets.sample_world.rig import CAMERAS, intrinsics
from occ_perception.datasets.sample_world.scene_writer import (
    LIDAR,
    SceneOptions,
    finish_scene,
    scene_name,
    write_bytes,
    write_keyframe,
)
from occ_perception.datasets.sample_world.timeline import check_truth_rate


def write_world(
    root: Path, seeds: Sequence[int], options: SceneOptions, jobs: int | None = None, progress: bool = True
) -> list[Path]:
    """Write the streets of seeds under root, skipping scenes that are there; returns their manifests.

    jobs: processes, default one per core. Raises ValueError for options that cannot be, or when a scene is there already that
    was written with other options.
    """
    _check(options)
    done = {seed: _finished(root, seed, options) for seed in seeds}
    missing = [seed for seed in seeds if not done[seed]]
    if missing:
        jobs = jobs or len(os.sched_getaffinity(0))
        total = len(missing) * (options.keyframes + 1)
        with tqdm(total=total, unit='key frame', desc=f'generating {len(missing)} streets', disable=not progress) as bar:
            if jobs == 1:
                for seed in missing:
                    for number in range(options.keyframes):
                        write_keyframe(root, seed, number, options)
                        bar.update()
                    finish_scene(root, seed, options)
                    bar.update()
            else:
                _in_processes(root, missing, options, jobs, bar)
    _write_index(root)
    return [root / 'scenes' / f'{scene_name(seed)}.json' for seed in seeds]


def _in_processes(root: Path, seeds: Sequence[int], options: SceneOptions, jobs: int, bar: tqdm) -> None:
    """Key frames one after the other, so that all processes work on the same few streets; then each scene's end."""
    with ProcessPoolExecutor(jobs, mp_context=get_context('spawn')) as pool:
        pending = {
            pool.submit(write_keyframe, root, seed, number, options): seed for seed in seeds for number in range(options.keyframes)
        }
        left = Counter(pending.values())
        finishing = []
        try:
            for future in as_completed(pending):
                future.result()
                bar.update()
                seed = pending[future]
                left[seed] -= 1
                if not left[seed]:
                    finishing.append(pool.submit(finish_scene, root, seed, options))
            for future in as_completed(finishing):
                future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check(options: SceneOptions) -> None:
    if options.keyframes < 1:
        raise ValueError(f'{options.keyframes} key frames make no scene; ask for at least 1')
    if options.bags and not options.sweeps:
        raise ValueError('a bag needs the readings between key frames; set sweeps as well')
    check_truth_rate(options.truth_hz)
    intrinsics('CAM_FRONT', options.image_size)


def _finished(root: Path, seed: int, options: SceneOptions) -> bool:
    """Whether the scene is there, written with these very options."""
    manifest = root / 'scenes' / f'{scene_name(seed)}.json'
    if not manifest.is_file():
        return False
    written = json.loads(manifest.read_text())['options']
    if written != options.as_json():
        raise ValueError(f'{manifest} was written with options {written}, not {options.as_json()}; '
                         'choose another folder, or delete this one to write it anew')
    return True


def _write_index(root: Path) -> None:
    """nuScenes tables and Occ3D's annotations.json over all finished scenes of the folder."""
    manifests = [json.loads(path.read_text()) for path in sorted((root / 'scenes').glob('*.json'))]
    tables = fixed_tables({**{name: 'camera' for name in CAMERAS}, LIDAR: 'lidar'})
    for manifest in manifests:
        for table, records in manifest['tables'].items():
            tables.setdefault(table, []).extend(records)
    write_tables(root, tables)
    names = [scene_name(manifest['seed']) for manifest in manifests]
    held_out = max(len(names) // 5, 1) if len(names) > 1 else 0
    infos = {scene_name(m['seed']): _occ3d_infos(m) for m in manifests}
    text = {'train_split': names[:len(names) - held_out], 'val_split': names[len(names) - held_out:], 'scene_infos': infos}
    write_bytes(root / 'annotations.json', json.dumps(text).encode())


def _occ3d_infos(manifest: dict[str, Any]) -> dict[str, Any]:
    """Frames of a scene as Occ3D's annotations.json lists them, by sample token."""
    name, tables = scene_name(manifest['seed']), manifest['tables']
    poses = {p['token']: {'translation': p['translation'], 'rotation': p['rotation']} for p in tables['ego_pose']}
    mounts = {c['token']: c for c in tables['calibrated_sensor']}
    keys: dict[str, list[dict[str, Any]]] = {}
    for record in tables['sample_data']:
        if record['is_key_frame']:
            keys.setdefault(record['sample_token'], []).append(record)
    infos = {}
    for sample in tables['sample']:
        cameras, ego = {}, None
        for record in keys[sample['token']]:
            if record['fileformat'] == 'pcd':
                ego = poses[record['ego_pose_token']]
                continue
            mount = mounts[record['calibrated_sensor_token']]
            cameras[record['filename'].split('/')[1]] = {
                'img_path': record['filename'],
                'intrinsics': mount['camera_intrinsic'],
                'ego_pose': poses[record['ego_pose_token']],
                'extrinsic': {'translation': mount['translation'], 'rotation': mount['rotation']},
            }
        infos[sample['token']] = {
            'timestamp': sample['timestamp'],
            'camera_sensor': cameras,
            'ego_pose': ego,
            'gt_path': f'gts/{name}/{sample["token"]}/labels.npz',
            'next': sample['next'],
            'prev': sample['prev'],
        }
    return infos
