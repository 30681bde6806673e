"""The files of a network in a narrow precision, beside its float32 ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.folding import folded
from occ_perception.engines.narrowing import in_float16
from occ_perception.engines.onnx_metadata import metadata_of, sha256_of
from occ_perception.engines.precision import graph_files, precision_file
from occ_perception.engines.quantise import Calibration

MADE_FROM, MADE_HOW = 'made_from_sha256', 'made_how'
"""Keys of metadata_props: SHA-256 of the float32 file, and the choices it was made with."""


@dataclass(frozen=True)
class NarrowFile:
    """A file in a narrow precision. quantised: layers in int8; kept: layers in float with the reason (int8 files only)."""

    path: Path
    megabytes: float
    quantised: int = 0
    kept: dict[str, str] = field(default_factory=dict)


def stale_files(onnx_file: Path, row: NetworkEntry, precision: str, how: str) -> list[Path]:
    """Narrow files of a network that are missing, or were made from other float32 files or with other choices."""
    made = graph_files(precision_file(onnx_file, precision), row)
    return [narrow for plain, narrow in zip(graph_files(onnx_file, row), made, strict=True)
            if not narrow.is_file() or _origin(narrow) != (sha256_of(plain), how)]


def write_float16(onnx_file: Path, row: NetworkEntry, how: str, keep: Sequence[str] = ()) -> list[NarrowFile]:
    """All files of an exported network in float16; keep: see narrowing.in_float16, how: for stale_files."""
    written = []
    for plain, narrow in _pairs(onnx_file, row, 'f16'):
        written.append(_save(in_float16(folded(plain), keep), plain, narrow, how))
    return written


def write_int8(onnx_file: Path, row: NetworkEntry, how: str, frames: Iterator[list[tuple[Path, Mapping[str, np.ndarray]]]],
               keep: Sequence[str] = ()) -> list[NarrowFile]:
    """All files of an exported network in int8 (see quantise). frames: what each file is fed, frame by frame."""
    pairs = _pairs(onnx_file, row, 'int8')
    calibrations = {plain: Calibration(folded(plain)) for plain, _ in pairs}
    for fed in frames:
        for plain, feeds in fed:
            calibrations[plain].add(feeds)
    written = []
    for plain, narrow in pairs:
        done = calibrations[plain].quantised(keep)
        written.append(_save(done.model, plain, narrow, how, len(done.layers), done.kept))
    return written


def _pairs(onnx_file: Path, row: NetworkEntry, precision: str) -> list[tuple[Path, Path]]:
    return list(zip(graph_files(onnx_file, row), graph_files(precision_file(onnx_file, precision), row), strict=True))


def _save(model: onnx.ModelProto, plain: Path, narrow: Path, how: str, quantised: int = 0,
          kept: dict[str, str] | None = None) -> NarrowFile:
    for key, value in {MADE_FROM: sha256_of(plain), MADE_HOW: how}.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    part = narrow.with_suffix('.part')
    try:
        onnx.save(model, part)
        part.replace(narrow)
    except PermissionError as error:
        raise ValueError(f'{narrow} cannot be written: copy {plain.name} into a folder of yours and give that') from error
    finally:
        part.unlink(missing_ok=True)
    return NarrowFile(narrow, narrow.stat().st_size / 1e6, quantised, kept or {})


def _origin(narrow: Path) -> tuple[str, str]:
    properties = metadata_of(narrow)
    return properties.get(MADE_FROM, ''), properties.get(MADE_HOW, '')
