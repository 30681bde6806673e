"""The ONNX file that TensorRT is given for a file of a network: in strongly typed networks all formats are in the file."""

from __future__ import annotations

from pathlib import Path

from occ_perception.engines.cache import cache_folder, cache_key


def tensorrt_file(onnx_file: Path, precision: str) -> Path:
    """The file itself in float32 and float16; for int8 one in the cache folder, whose other layers are in float16.

    Raises ValueError where the package onnx is missing.
    """
    if precision != 'int8':
        return onnx_file
    try:
        import onnx

        from occ_perception.engines import narrowing
    except ModuleNotFoundError as error:
        raise ValueError(f'TensorRT in int8 needs the package {error.name}: pip install onnx') from error
    rules = Path(narrowing.__file__).read_bytes()
    path = cache_folder() / f'{onnx_file.stem}-{cache_key(onnx_file.read_bytes(), rules)[:24]}.onnx'
    if not path.is_file():
        part = path.with_suffix('.part')
        onnx.save(narrowing.in_float16(onnx.load(onnx_file)), part)
        part.replace(path)
    return path
