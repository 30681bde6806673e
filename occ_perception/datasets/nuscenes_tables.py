"""nuScenes v1.0 tables of generated scenes: records with deterministic tokens, and the JSON files the nuscenes-devkit reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.geometry.transforms import quaternion_from_rotation

VERSION = 'v1.0-sample'
TABLES = ('attribute', 'calibrated_sensor', 'category', 'ego_pose', 'instance', 'log', 'map', 'sample', 'sample_annotation',
          'sample_data', 'scene', 'sensor', 'visibility')
Record = dict[str, Any]

_CATEGORIES = {
    'human.pedestrian.adult': 'Adult on foot.',
    'human.pedestrian.child': 'Child on foot.',
    'human.pedestrian.construction_worker': 'Worker on a building site.',
    'human.pedestrian.police_officer': 'Police officer.',
    'human.pedestrian.personal_mobility': 'Skateboard, scooter and the like, with rider.',
    'human.pedestrian.stroller': 'Stroller, with whoever pushes it.',
    'human.pedestrian.wheelchair': 'Wheelchair, with its user.',
    'animal': 'Any animal.',
    'movable_object.barrier': 'Temporary barrier.',
    'movable_object.debris': 'Debris, bags, boxes.',
    'movable_object.pushable_pullable': 'Bins, carts and other things to push or pull.',
    'movable_object.trafficcone': 'Traffic cone.',
    'static_object.bicycle_rack': 'Bicycle rack.',
    'vehicle.bicycle': 'Bicycle, with its rider if there is one.',
    'vehicle.bus.bendy': 'Articulated bus.',
    'vehicle.bus.rigid': 'Bus.',
    'vehicle.car': 'Car.',
    'vehicle.construction': 'Construction vehicle.',
    'vehicle.emergency.ambulance': 'Ambulance.',
    'vehicle.emergency.police': 'Police vehicle.',
    'vehicle.motorcycle': 'Motorcycle, with its rider if there is one.',
    'vehicle.trailer': 'Trailer.',
    'vehicle.truck': 'Truck.',
}
_ATTRIBUTES = {
    'vehicle.moving': 'Vehicle is moving.',
    'vehicle.stopped': 'Vehicle is stopped and will move again.',
    'vehicle.parked': 'Vehicle is parked.',
    'cycle.with_rider': 'There is a rider on it.',
    'cycle.without_rider': 'Nobody rides it.',
    'pedestrian.sitting_lying_down': 'Person sits or lies.',
    'pedestrian.standing': 'Person stands.',
    'pedestrian.moving': 'Person moves.',
}
_VISIBILITY = (
    ('1', 'v0-40', 'between 0 and 40 % of the object can be seen'),
    ('2', 'v40-60', 'between 40 and 60 % of the object can be seen'),
    ('3', 'v60-80', 'between 60 and 80 % of the object can be seen'),
    ('4', 'v80-100', 'more than 80 % of the object can be seen'),
)


def token(*parts: object) -> str:
    """Token of something named by parts: 32 hexadecimal digits, always the same for the same parts."""
    return hashlib.md5('/'.join(str(p) for p in parts).encode(), usedforsecurity=False).hexdigest()


def pose_fields(transform: np.ndarray) -> Record:
    """translation and rotation (w, x, y, z) of a (4, 4) transform."""
    x, y, z, w = quaternion_from_rotation(transform[:3, :3])
    return {'translation': [float(v) for v in transform[:3, 3]], 'rotation': [w, x, y, z]}


def visibility_token(seen_share: float) -> str:
    """Token of the visibility bin of a share 0..1 of an object's picture that can be seen."""
    return str(1 + sum(seen_share > limit for limit in (0.4, 0.6, 0.8)))


def category_token(name: str) -> str:
    """Token of a category by name. Raises ValueError for a name that nuScenes does not have."""
    if name not in _CATEGORIES:
        raise ValueError(f'category {name!r} is none of the nuScenes categories: {", ".join(_CATEGORIES)}')
    return token('category', name)


def attribute_tokens(name: str) -> list[str]:
    """Tokens of an attribute by name; none for ''."""
    return [token('attribute', name)] if name else []


def fixed_tables(sensors: Mapping[str, str]) -> dict[str, list[Record]]:
    """Tables that are the same for all scenes; sensors: channel -> modality."""
    return {
        'category': [{'token': token('category', name), 'name': name, 'description': text} for name, text in _CATEGORIES.items()],
        'attribute': [{'token': token('attribute', name), 'name': name, 'description': text} for name, text in _ATTRIBUTES.items()],
        'visibility': [{'token': number, 'level': level, 'description': text} for number, level, text in _VISIBILITY],
        'sensor': [{'token': token('sensor', channel), 'channel': channel, 'modality': kind} for channel, kind in sensors.items()],
    }


def chain(records: Sequence[Record]) -> None:
    """Fill prev and next of records that follow each other in time."""
    for i, record in enumerate(records):
        record['prev'] = records[i - 1]['token'] if i else ''
        record['next'] = records[i + 1]['token'] if i + 1 < len(records) else ''


def annotation_records(scene: str, seen: Sequence[tuple[str, Sequence[Record]]]) -> tuple[list[Record], list[Record]]:
    """sample_annotation and instance records of a scene.

    seen: per sample, in time order, its token and the objects noticed in it: {'id', 'category', 'attribute', 'translation',
    'rotation', 'size' (width, length, height), 'seen_share', 'lidar_points'}.
    """
    by_object: dict[int, list[Record]] = {}
    categories: dict[int, str] = {}
    for sample, objects in seen:
        for o in objects:
            categories[o['id']] = o['category']
            by_object.setdefault(o['id'], []).append({
                'token': token('annotation', scene, sample, o['id']), 'sample_token': sample,
                'instance_token': token('instance', scene, o['id']), 'visibility_token': visibility_token(o['seen_share']),
                'attribute_tokens': attribute_tokens(o['attribute']), 'translation': o['translation'], 'size': o['size'],
                'rotation': o['rotation'], 'num_lidar_pts': o['lidar_points'], 'num_radar_pts': 0})
    annotations, instances = [], []
    for identity, records in sorted(by_object.items()):
        chain(records)
        annotations += records
        instances.append({'token': token('instance', scene, identity), 'category_token': category_token(categories[identity]),
                          'nbr_annotations': len(records), 'first_annotation_token': records[0]['token'],
                          'last_annotation_token': records[-1]['token']})
    return annotations, instances


def write_tables(root: Path, tables: Mapping[str, Iterable[Record]]) -> Path:
    """Write all tables under root/v1.0-sample (missing ones empty); returns that folder."""
    folder = root / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        partial = folder / f'.{name}.json'
        partial.write_text(json.dumps(list(tables.get(name, ())), indent=0))
        partial.replace(folder / f'{name}.json')
    return folder
