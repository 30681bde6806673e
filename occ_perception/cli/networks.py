"""`occ networks`: the catalogue as a table, one network in full, or the table of its weights."""

from __future__ import annotations

import argparse
import json

from occ_perception.catalogue import NETWORKS, NetworkEntry, entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', nargs='?', help='network to describe; without it all are listed')
    parser.add_argument('--keys', action='store_true',
                        help='print the state_dict table as JSON, {key: [shape, dtype]} (needs PyTorch)')


def run(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        if arguments.keys:
            raise ValueError('--keys needs the name of a network: occ networks NAME --keys')
        print(listing())
    elif arguments.keys:
        rows = (f'{json.dumps(key)}: {json.dumps(value)}' for key, value in state_table(arguments.name).items())
        print('{\n' + ',\n'.join(rows) + '\n}')
    else:
        print(description(entry(arguments.name)))
    return 0


def listing() -> str:
    """One line per network."""
    width = max(map(len, NETWORKS))
    lines = [f'{"network":{width}}  input     frames  parameters  published     weights  what it is']
    for row in NETWORKS.values():
        size = f'{row.preprocessing.input_height}x{row.preprocessing.input_width}' if row.cameras else 'points'
        score = '-' if row.published is None else f'{row.published:.2f} {row.published_as}'
        lines.append(f'{row.name:{width}}  {size:8}  {row.frames:6}  {row.parameters / 1e6:8.2f} M  {score:12}  '
                     f'{"shipped" if row.weights else "yours":7}  {row.summary}')
    lines.append('Published: percent on Occ3D-nuScenes val; mIoU under the camera mask. Weights "yours": bring the checkpoint.')
    return '\n'.join(lines)


def description(row: NetworkEntry) -> str:
    """All that the catalogue knows of one network."""
    images, grid = row.preprocessing, row.grid
    panoptic = '' if row.published_pq is None else f', {row.published_pq} % RayPQ'
    facts = {
        'what it is': row.summary,
        'family': row.family,
        'parameters': f'{row.parameters:,}',
        'weights': f'shipped: {row.weights}' if row.weights else 'yours: name a .safetensors or .pth file',
        'published': '-' if row.published is None else f'{row.published} % {row.published_as}{panoptic}, Occ3D-nuScenes val',
        'cameras': ', '.join(row.cameras) or 'none',
        'frames': str(row.frames) + (f', {row.history.offsets_s[0]} s apart' if row.history.offsets_s else ''),
        'images': f'{images.input_height} x {images.input_width} RGB: resized to that width ({images.resample}), bottom rows kept',
        'normalisation': f'inside the network: {images.channels}, mean {images.mean}, std {images.std}'
                         + (', halved' if images.halved else ''),
        'grid': f'{" x ".join(map(str, grid.shape))} voxels of {grid.resolution_m} m from {grid.origin_m} m (x, y, z), '
                f'{row.grid_frame} frame',
    }
    facts['labels'] = row.labels.name
    if row.lidar is not None:
        ages = f'the present sweep and those {", ".join(f"{age:g}" for age in row.lidar.ages_s)} s before it'
        facts['LiDAR'] = ((ages if row.lidar.ages_s else 'the present sweep')
                          + (f'; x, y, z, {", ".join(row.lidar.columns)}' if row.sees_by_lidar else ', whose points are labelled'))
    if row.lift is not None:
        lift = row.lift
        facts['depth'] = f'{lift.bins} bins, {lift.depth_start} to {lift.depth_stop} m, {lift.spacing}'
        facts['image features'] = f'{lift.feature_height} x {lift.feature_width}, stride {lift.stride}'
    width = max(map(len, facts))
    return '\n'.join([row.name, *(f'  {title:{width}}  {text}' for title, text in facts.items())])


def state_table(name: str) -> dict[str, list]:
    """{key: [shape, dtype]} of a network's state_dict. Raises ValueError where PyTorch is missing."""
    entry(name)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ValueError('printing the keys builds the network, which needs PyTorch: pip install torch '
                         '(listing and describing do without)') from error
    from occ_perception.networks.build import build_network

    with torch.device('meta'):
        state = build_network(name).state_dict()
    return {key: [list(value.shape), str(value.dtype).removeprefix('torch.')] for key, value in state.items()}
