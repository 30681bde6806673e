"""Number formats that backends compute in, and the files that hold a network in one."""

from __future__ import annotations

from pathlib import Path

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.graph_engine import stage_files
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.machine import multiplies_bf16

PRECISIONS = ('auto', 'f32', 'bf16', 'f16', 'int8')
NARROW = ('f16', 'int8')
"""Formats that have ONNX files of their own, beside the float32 one; every other is computed from the float32 file."""
_OF_BACKEND = {'openvino': ('f32', 'bf16', 'int8'), 'onnxruntime': ('f32', 'int8'), 'tensorrt': ('f32', 'f16', 'int8'),
               'torch': ('f32',)}


def chosen_precision(backend: str, precision: str) -> str:
    """The precision itself, or for 'auto' the backend's own choice.

    'auto' is bf16 in OpenVINO where the processor multiplies it natively (AMX or AVX-512 BF16), float32 elsewhere: what changes
    more labels than that is taken only when it is asked for. backend: one of BACKENDS, but not 'auto'. Raises ValueError for a
    precision that is not in PRECISIONS or that the backend does not have.
    """
    if precision not in PRECISIONS:
        raise ValueError(f'precision {precision!r} is unknown: choose one of {", ".join(PRECISIONS)}')
    if precision == 'auto':
        return 'bf16' if backend == 'openvino' and multiplies_bf16() else 'f32'
    if precision not in _OF_BACKEND[backend]:
        others = ', '.join(other for other, formats in _OF_BACKEND.items() if precision in formats)
        raise ValueError(f'backend {backend!r} has no precision {precision!r}: choose one of '
                         f'{", ".join(("auto", *_OF_BACKEND[backend]))}, or a backend that has it ({others})')
    return precision


def precision_file(onnx_file: Path, precision: str) -> Path:
    """Where the network of a float32 file stands in a precision: NAME.int8.onnx beside NAME.onnx; the file itself for f32 and bf16.

    The other two files of a stereo network follow from the result, see stage_files.
    """
    return onnx_file.with_suffix(f'.{precision}.onnx') if precision in NARROW else onnx_file


def graph_files(onnx_file: Path, entry: NetworkEntry) -> tuple[Path, ...]:
    """Every file of an exported network: the one, or those of a stereo network (encode, match, fuse)."""
    return (*stage_files(onnx_file), onnx_file) if entry.history.stereo else (onnx_file,)


def existing_files(onnx_file: Path, entry: NetworkEntry, precision: str) -> tuple[Path, ...]:
    """Files of a network in a precision, as graph_files.

    onnx_file: the float32 one. Raises ValueError when it is a narrow one, EngineUnavailable with the command that makes what is
    missing.
    """
    for narrow in NARROW:
        if onnx_file.name.endswith(f'.{narrow}.onnx'):
            plain = onnx_file.with_name(onnx_file.name.removesuffix(f'.{narrow}.onnx') + '.onnx')
            raise ValueError(f'{onnx_file} is made from {plain.name}: give {plain} and the precision {narrow!r}')
    files = graph_files(precision_file(onnx_file, precision), entry)
    missing = [file.name for file in files if not file.is_file()]
    if not missing:
        return files
    lacks = f'{onnx_file} needs {" and ".join(missing)} beside it'
    if precision in NARROW:
        raise EngineUnavailable(f'{lacks}: `occ build {entry.name} --precision {precision} --weights {onnx_file}` makes it')
    raise EngineUnavailable(f'{lacks}: `occ export {entry.name}` writes all three')
