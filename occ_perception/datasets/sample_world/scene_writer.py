"""One scene on disk: pictures, sweeps, labels, bag and nuScenes records. Files appear whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from occ_perception.datasets.bag_writer import POINT_DTYPE, BagWriter
from occ_perception.datasets.nuscenes_tables import Record, annotation_records, chain, pose_fields, token
from occ_perception.datasets.sample_world.annotations import noticed_objects
from occ_perception.datasets.sample_world.camera import CameraView, render_camera
from occ_perception.datasets.sample_world.frame import WorldFrame, scene_of
from occ_perception.datasets.sample_world.layout import make_street
from occ_perception.datasets.sample_world.lidar import LidarSweep, render_sweep
from occ_perception.datasets.sample_world.mesh import sample_triangles
from occ_perception.datasets.sample_world.rig import CAMERAS, ego_from_camera, ego_from_lidar, intrinsics
from occ_perception.datasets.sample_world.scene import StreetScene
from occ_perception.datasets.sample_world.street import Street
from occ_perception.datasets.sample_world.timeline import Event, Timeline
from occ_perception.datasets.sample_world.truth import occupancy_truth
from occ_perception.geometry.transforms import apply, inverse

LIDAR = 'LIDAR_TOP'
JPEG_QUALITY = 92
MAP_RESOLUTION_M = 0.1


@dataclass(frozen=True)
class SceneOptions:
    """What is written of every scene.

    keyframes: number, 0.5 s apart. image_size: (width, height), 16:9. sweeps: also the pictures (12 Hz) and LiDAR sweeps (20 Hz)
    between key frames. bags: a ROS 2 bag per scene (needs sweeps). truth_hz: rate of truth/, must divide 20.
    """

    keyframes: int = 20
    image_size: tuple[int, int] = (800, 450)
    sweeps: bool = False
    bags: bool = False
    truth_hz: float = 2.0

    def as_json(self) -> dict[str, Any]:
        """The options as JSON has them."""
        return {'keyframes': self.keyframes, 'image_size': list(self.image_size), 'sweeps': self.sweeps, 'bags': self.bags,
                'truth_hz': self.truth_hz}


def scene_name(seed: int) -> str:
    """Name of the scene of a street seed."""
    return f'scene-{seed:04d}'


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole: under another name first, then moved into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    partial.write_bytes(data)
    partial.replace(path)


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _data_path(scene: str, event: Event) -> str:
    suffix = 'pcd.bin' if event.sensor == LIDAR else 'jpg'
    return f'{"samples" if event.key else "sweeps"}/{event.sensor}/{scene}__{event.sensor}__{event.stamp_ns // 1000}.{suffix}'


def _raw_sweep_path(root: Path, scene: str, event: Event) -> Path:
    return root / '.parts' / scene / f'{event.stamp_ns}.bin'


def sample_token(scene: str, number: int) -> str:
    """Token of key frame `number` of a scene."""
    return token('sample', scene, number)


def write_keyframe(root: Path, seed: int, number: int, options: SceneOptions) -> Path:
    """Write all readings and truth from key frame `number` up to the next; returns the note of what was seen (JSON).

    Nothing is done when the note is there already.
    """
    name, timeline = scene_name(seed), Timeline(seed, options.keyframes)
    note = root / '.parts' / name / f'{number:04d}.json'
    if note.is_file():
        return note
    street = _street(seed, timeline.duration_s)
    scene = scene_of(street)
    views: dict[tuple[str, int], CameraView] = {}
    for event in timeline.exposures(number, options.sweeps):
        view = render_camera(scene, event.sensor, event.time_s, options.image_size)
        views[event.sensor, event.stamp_ns] = view
        jpeg = simplejpeg.encode_jpeg(view.image, quality=JPEG_QUALITY, colorspace='RGB', colorsubsampling='420')
        write_bytes(root / _data_path(name, event), jpeg)
    sweeps: dict[int, LidarSweep] = {}
    for event in timeline.sweeps(number, options.sweeps):
        sweeps[event.stamp_ns] = sweep = render_sweep(scene, event.time_s)
        write_bytes(root / _data_path(name, event), _nuscenes_points(street, sweep).tobytes())
        if options.bags:
            write_bytes(_raw_sweep_path(root, name, event), bag_points(sweep).tobytes())
    seen: list[dict[str, Any]] = []
    for event in timeline.truths(number, options.truth_hz):
        chosen = [_nearest_view(scene, views, camera, event, timeline, options) for camera in CAMERAS]
        turn = sweeps.get(event.stamp_ns) or render_sweep(scene, event.time_s)
        truth = occupancy_truth(scene, event.time_s, chosen, turn)
        data = _npz(truth.arrays())
        write_bytes(root / 'truth' / name / f'{event.stamp_ns}.npz', data)
        if event.key:
            write_bytes(root / 'gts' / name / sample_token(name, number) / 'labels.npz', data)
            frame = WorldFrame(event.time_s, street.ego_pose(event.time_s), {v.name: v for v in chosen}, turn, truth)
            seen = noticed_objects(street, frame)
    write_bytes(note, json.dumps(seen).encode())
    return note


_STREETS: dict[tuple[int, float], Street] = {}


def _street(seed: int, duration_s: float) -> Street:
    """The street of a seed; each process keeps its last one."""
    if (seed, duration_s) not in _STREETS:
        _STREETS.clear()
        _STREETS[seed, duration_s] = make_street(seed, duration_s)
    return _STREETS[seed, duration_s]


def _nearest_view(scene: StreetScene, views: dict[tuple[str, int], CameraView], camera: str, moment: Event, timeline: Timeline,
                  options: SceneOptions) -> CameraView:
    """The written picture of a camera whose exposure is nearest to the moment plus its offset; rendered anew without sweeps."""
    wanted = moment.time_s + CAMERAS[camera].exposure_offset_s
    known = [view for (name, _), view in views.items() if name == camera]
    nearest = min(known, key=lambda view: abs(view.time_s - wanted))
    if moment.key or options.sweeps:
        return nearest
    return render_camera(scene, camera, wanted, options.image_size)


def _nuscenes_points(street: Street, sweep: LidarSweep) -> np.ndarray:
    """(M, 5) float32 x, y, z, intensity, ring in the LiDAR's axes at the sweep's end: ego motion taken out."""
    mount = ego_from_lidar()
    lidar_from_world = inverse(street.ego_pose(sweep.time_s) @ mount)
    first = lidar_from_world @ street.ego_pose(sweep.time_s - 0.05) @ mount
    share = (-sweep.time / 0.05)[:, None]
    points = sweep.points * (1 - share) + apply(first, sweep.points.astype(np.float64)) * share
    return np.column_stack([points, sweep.intensity, sweep.ring]).astype(np.float32)


def bag_points(sweep: LidarSweep) -> np.ndarray:
    """(M,) records of POINT_DTYPE, as the bag has them: each point in the LiDAR's axes at its own time."""
    records = np.zeros(len(sweep.points), POINT_DTYPE)
    records['x'], records['y'], records['z'] = sweep.points.T
    records['intensity'], records['ring'], records['time'] = sweep.intensity, sweep.ring, np.minimum(sweep.time, 0)
    return records


def finish_scene(root: Path, seed: int, options: SceneOptions) -> Path:
    """Bag, map and records of a scene whose key frames are all written; returns the manifest, which is written last."""
    name, timeline = scene_name(seed), Timeline(seed, options.keyframes)
    street = _street(seed, timeline.duration_s)
    if options.bags:
        _write_bag(root, name, street, timeline, options)
    map_path = f'maps/{token("map", name)}.png'
    buffer = BytesIO()
    Image.fromarray(_drivable_mask(street)).save(buffer, 'PNG')
    write_bytes(root / map_path, buffer.getvalue())
    manifest = root / 'scenes' / f'{name}.json'
    records = _records(root, name, street, timeline, options, map_path)
    write_bytes(
        manifest, json.dumps({'seed': seed, 'options': options.as_json(), 'light': street.light.name, 'tables': records}).encode()
    )
    parts = root / '.parts' / name
    for path in parts.glob('*'):
        path.unlink()
    parts.rmdir()
    if not any(parts.parent.iterdir()):
        parts.parent.rmdir()
    return manifest


def _events(timeline: Timeline, options: SceneOptions) -> list[Event]:
    """All written readings of a scene in the order of their stamps."""
    events = [e for k in range(options.keyframes)
              for e in timeline.exposures(k, options.sweeps) + timeline.sweeps(k, options.sweeps)]
    return sorted(events, key=lambda e: (e.stamp_ns, e.sensor))


def _write_bag(root: Path, name: str, street: Street, timeline: Timeline, options: SceneOptions) -> None:
    path = root / 'bags' / name
    if path.exists():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    mounts = [(camera, ego_from_camera(camera)) for camera in CAMERAS] + [(LIDAR, ego_from_lidar())]
    odometry = [Event('odometry', float(t), timeline.stamp(float(t)), False) for t in timeline.odometry_times()]
    order = sorted([*odometry, *_events(timeline, options)], key=lambda e: (e.stamp_ns, e.sensor != 'odometry', e.sensor))
    with BagWriter(path) as bag:
        bag.static_transforms(timeline.start_ns, mounts)
        posed_ns = -1
        for event in order:
            if event.stamp_ns != posed_ns:  # also at every reading, so that the bag places it where the tables do
                posed_ns = event.stamp_ns
                bag.ego_pose(posed_ns, street.ego_pose(event.time_s))
            if event.sensor == 'odometry':
                pose, later = street.ego_pose(event.time_s), street.ego_pose(event.time_s + 0.01)
                turn = inverse(pose)[:3, :3] @ later[:3, :3]
                velocity = inverse(pose)[:3, :3] @ (later[:3, 3] - pose[:3, 3]) / 0.01
                bag.odometry(event.stamp_ns, pose, velocity, np.array([0, 0, np.arctan2(turn[1, 0], turn[0, 0]) / 0.01]))
            elif event.sensor == LIDAR:
                bag.points(event.stamp_ns, LIDAR, np.frombuffer(_raw_sweep_path(root, name, event).read_bytes(), POINT_DTYPE))
            else:
                bag.image(event.stamp_ns, event.sensor, (root / _data_path(name, event)).read_bytes(), options.image_size,
                          intrinsics(event.sensor, options.image_size))


def _drivable_mask(street: Street) -> np.ndarray:
    """Map mask (H, W) uint8, 255 where one can drive: column x / 0.1 m, rows from the top, y = 0 at the bottom."""
    road = street.ground.corners[street.ground.label == 11]
    points = sample_triangles(road, MAP_RESOLUTION_M)[0][:, :2]
    size = np.ceil(points.max(axis=0) / MAP_RESOLUTION_M).astype(int) + 200
    mask = np.zeros((size[1], size[0]), np.uint8)
    pixel = (points / MAP_RESOLUTION_M).astype(int)
    mask[size[1] - 1 - pixel[:, 1], pixel[:, 0]] = 255
    return mask


def _records(
    root: Path, name: str, street: Street, timeline: Timeline, options: SceneOptions, map_path: str
) -> dict[str, list[Record]]:
    samples = [{'token': sample_token(name, k), 'timestamp': timeline.stamp(timeline.keyframe_s(k)) // 1000,
                'scene_token': token('scene', name)} for k in range(options.keyframes)]
    chain(samples)
    log = token('log', name)
    calibrated = []
    for sensor in (*CAMERAS, LIDAR):
        mount = ego_from_lidar() if sensor == LIDAR else ego_from_camera(sensor)
        k = [] if sensor == LIDAR else intrinsics(sensor, options.image_size).tolist()
        calibrated.append(
            {
                'token': token('calibrated', name, sensor),
                'sensor_token': token('sensor', sensor),
                **pose_fields(mount),
                'camera_intrinsic': k,
            }
        )
    by_sensor: dict[str, list[Record]] = {}
    poses = []
    width, height = options.image_size
    for event in _events(timeline, options):
        identity = token('data', name, event.sensor, event.stamp_ns)
        owner = min(range(options.keyframes), key=lambda k: abs(timeline.keyframe_s(k) - event.time_s))
        by_sensor.setdefault(event.sensor, []).append({
            'token': identity, 'sample_token': sample_token(name, owner), 'ego_pose_token': identity,
            'calibrated_sensor_token': token('calibrated', name, event.sensor), 'timestamp': event.stamp_ns // 1000,
            'fileformat': 'pcd' if event.sensor == LIDAR else 'jpg', 'is_key_frame': event.key,
            'height': 0 if event.sensor == LIDAR else height, 'width': 0 if event.sensor == LIDAR else width,
            'filename': _data_path(name, event)})
        poses.append({'token': identity, 'timestamp': event.stamp_ns // 1000, **pose_fields(street.ego_pose(event.time_s))})
    for records in by_sensor.values():
        chain(records)
    seen = [
        (sample_token(name, k), json.loads((root / '.parts' / name / f'{k:04d}.json').read_text()))
        for k in range(options.keyframes)
    ]
    annotations, instances = annotation_records(name, seen)
    return {
        'log': [{'token': log, 'logfile': name, 'vehicle': 'generated', 'date_captured': '2023-11-14', 'location': name}],
        'map': [{'token': token('map', name), 'log_tokens': [log], 'category': 'semantic_prior', 'filename': map_path}],
        'scene': [{'token': token('scene', name), 'log_token': log, 'nbr_samples': options.keyframes, 'name': name,
                   'first_sample_token': samples[0]['token'], 'last_sample_token': samples[-1]['token'],
                   'description': f'Generated street {street.seed}, {street.light.name}'}],
        'sample': samples, 'calibrated_sensor': calibrated, 'ego_pose': poses,
        'sample_data': [r for records in by_sensor.values() for r in records],
        'sample_annotation': annotations, 'instance': instances,
    }
