"""Write the compact copies of the official metric cases: `python test/metrics/condense_cases.py CASES GOLDEN`.

CASES is the folder of the cases, GOLDEN is test/golden. Metrics over voxels and points do not know where those are, and ray metrics
know of two depths only how far apart they are; so every input shrinks to its distinct rows and how often each occurs. Flows are
kept as the bits of their float32.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from conftest import MetricCases

from occ_perception.metrics.ray_cast import RayHits, cast_rays


def counted(*columns: np.ndarray) -> np.ndarray:
    """Distinct rows of the columns, their number of occurrences as the last column, int32."""
    table, counts = np.unique(np.stack([np.asarray(c).reshape(-1).astype(np.int64) for c in columns], axis=1), axis=0,
                              return_counts=True)
    return np.column_stack([table, counts]).astype(np.int32)


def ray_columns(frame: dict, prediction: RayHits, truth: RayHits, half: bool) -> list[np.ndarray]:
    """Labels, ids, flows of both sides and the class of the depth error (0: below 1 m, 1: 2 m, 2: 4 m, 3: more)."""
    depths = [hits.distance_m.astype(np.float16 if half else np.float32).astype(np.float32) for hits in (prediction, truth)]
    error = np.digitize(np.abs(depths[0] - depths[1]), [1, 2, 4])
    columns = [prediction.labels, truth.labels, prediction.read(frame['pred_inst']), truth.read(frame['gt_inst']), error]
    for hits, flow in ((prediction, frame['pred_flow']), (truth, frame['gt_flow'])):
        columns += list(hits.read(flow).astype(np.float32).view(np.int32).T)
    return columns


def main() -> None:
    """Read, shrink, write."""
    cases, golden = MetricCases(Path(sys.argv[1])), Path(sys.argv[2])
    names = sorted(path.stem for path in cases.folder.glob('*.json'))
    (golden / 'metrics_expected.json').write_text(json.dumps({n: cases.expected(n) for n in names}, separators=(',', ':')) + '\n')
    tables = {}
    voxel_columns = ('pred_sem', 'gt_sem', 'pred_inst', 'gt_inst', 'mask_camera', 'mask_lidar')
    for index, frame in enumerate(cases.samples(cases.expected('occ3d_miou'))):
        tables[f'voxels_{index}'] = counted(*(frame[key] for key in voxel_columns))
    for name in ('ray_occ3d', 'ray_openocc', 'server'):
        case = cases.expected(name if name != 'server' else 'ray_openocc')
        free = len(cases.generator.LAYOUTS[case['layout']]) - 1
        for index, (frame, origins) in enumerate(zip(cases.samples(case), cases.origins(), strict=True)):
            prediction, truth = (cast_rays(frame[key], origins, free, single_precision=name == 'server')
                                 for key in ('pred_sem', 'gt_sem'))
            tables[f'{name}_{index}'] = counted(*ray_columns(frame, prediction, truth, name == 'server'))
    for index, name in enumerate(cases.expected('lidarseg_panoptic')['names']):
        points = cases.generator.points(name)
        tables[f'points_{index}'] = counted(*(points[key] for key in ('pred_sem', 'gt_sem', 'pred_inst', 'gt_inst')))
    np.savez_compressed(golden / 'metrics_rows.npz', **tables)
    arrays = {}
    for index, case in enumerate(cases.expected('raycast_unit')['cases']):
        volume = cases.generator.sparse_volume(*case['volume'])
        at = np.flatnonzero(volume != 17)
        arrays[f'voxels_{index}'] = np.stack([at, volume.reshape(-1)[at]]).astype(np.int32)
    for frame, index in enumerate(cases.expected('origins')['index']):
        fixed_from_ego, ego_from_lidar, _ = cases.scene_poses(index)
        arrays[f'fixed_from_ego_{frame}'], arrays[f'ego_from_lidar_{frame}'] = np.stack(fixed_from_ego), np.stack(ego_from_lidar)
    np.savez_compressed(golden / 'metrics_raycast.npz', **arrays)


if __name__ == '__main__':
    main()
