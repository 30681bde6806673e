"""Writes PanoOcc as ONNX of standard operators, and checks it against torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import onnx

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.comparison import LARGEST_ERROR, MINIMUM_AGREEMENT, compare
from occ_perception.engines.export import ExportedFile, narrow_constants, trace
from occ_perception.engines.panoocc_graphs import PanoOccGraph, default_view_caps, example_feeds, torch_outputs_of
from occ_perception.geometry.voxel_views import ViewCaps
from occ_perception.networks.panoocc.network import PanoOcc


def export_panoocc(network: PanoOcc, row: NetworkEntry, path: Path, caps: ViewCaps | None = None,
                   about: Mapping[str, str] | None = None) -> ExportedFile:
    """Write a network in eval mode that holds its weights; about: further metadata_props. caps: sizes of the view tables.

    Raises ValueError when a runtime gives other labels than torch, or other numbers: nothing is then written.
    """
    began = time.monotonic()
    caps = caps or default_view_caps(network)
    graph = PanoOccGraph(network)
    feeds = example_feeds(network, row, caps)
    model = trace(graph, {name: feeds[name] for name in graph.inputs}, graph.outputs)
    facts = {'network': row.name, 'cameras': json.dumps(row.cameras), 'preprocessing': json.dumps(asdict(row.preprocessing)),
             'view_caps': json.dumps(asdict(caps)), **(about or {})}
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    narrow_constants(model)
    part = path.with_suffix('.part.onnx')
    try:
        onnx.save(model, part)
        compared = compare(part, feeds, torch_outputs_of(graph, feeds), [], [])
        done = ExportedFile(path, len(model.graph.node), part.stat().st_size / 1e6, compared, time.monotonic() - began)
        if not done.good:
            raise ValueError(f'the exported {row.name} gives {", ".join(graph.outputs)} unlike torch: {compared}, expected '
                             f'{MINIMUM_AGREEMENT} of the labels equal and errors of at most {LARGEST_ERROR}')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return done
