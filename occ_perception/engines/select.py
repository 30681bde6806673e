"""Finds the weights of a network and opens it in the chosen backend."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.protocol import Engine, EngineUnavailable

BACKENDS = ('auto', 'openvino', 'tensorrt', 'torch')
RANDOM_WEIGHTS = 'random'
"""Asks for seeded random weights: shows that a network runs, predicts nothing useful. Torch backend only."""


def shipped_file(name: str) -> Path:
    """Path of a file that ships in occ_perception/weights/ (it may be absent)."""
    return Path(str(resources.files('occ_perception') / 'weights' / name))


def find_weights(entry: NetworkEntry, weights: str | Path | None, suffixes: tuple[str, ...]) -> Path:
    """File to load: the one given, else the shipped one with the first suffix that exists.

    Raises ValueError when there is none or its suffix is not among those that the backend takes.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ValueError(f'weights file {path} does not exist')
        if path.suffix not in suffixes:
            raise ValueError(f'weights file {path} has suffix {path.suffix!r}; this backend takes {", ".join(suffixes)}: '
                             f'make one with `occ export {entry.name} --weights {path}`, or choose another backend')
        return path
    if entry.weights is None:
        raise ValueError(f'{entry.name} ships no weights: name your file in `weights`, or say weights={RANDOM_WEIGHTS!r} with the '
                         'torch backend to see it run without them')
    for suffix in suffixes:
        if shipped_file(entry.weights + suffix).is_file():
            return shipped_file(entry.weights + suffix)
    raise ValueError(f'{shipped_file(entry.weights)}{suffixes[0]} is missing from this installation')


def open_engine(entry: NetworkEntry, backend: str = 'auto', weights: str | Path | None = None,
                threads: int | None = None) -> Engine:
    """The network in a backend, ready to run.

    'auto' takes torch for random weights and for .safetensors or .pth files, else TensorRT where it can run, else OpenVINO.
    Raises EngineUnavailable (a ValueError) with what is missing where the backend cannot run.
    """
    if backend not in BACKENDS:
        raise ValueError(f'backend {backend!r} is unknown: choose one of {", ".join(BACKENDS)}')
    if backend == 'auto':
        backend = _best_backend(entry, weights)
    if backend == 'torch':
        try:
            from occ_perception.engines.torch_engine import TorchEngine
        except ModuleNotFoundError as error:
            if error.name != 'torch':
                raise
            raise EngineUnavailable("backend 'torch' needs PyTorch: pip install torch, or give weights as .onnx") from error
        path = None if str(weights) == RANDOM_WEIGHTS else find_weights(entry, weights, ('.safetensors', '.pth'))
        return TorchEngine(entry.name, path, threads)
    if str(weights) == RANDOM_WEIGHTS:
        raise ValueError(f'weights={RANDOM_WEIGHTS!r} needs the torch backend, not {backend!r}')
    onnx_file = find_weights(entry, weights, ('.onnx',))
    if backend == 'tensorrt':
        from occ_perception.engines.tensorrt_engine import TensorRtEngine
        return TensorRtEngine(onnx_file)
    from occ_perception.engines.openvino_engine import OpenVinoEngine
    return OpenVinoEngine(onnx_file, threads)


def _best_backend(entry: NetworkEntry, weights: str | Path | None) -> str:
    if str(weights) == RANDOM_WEIGHTS or (weights is not None and Path(weights).suffix != '.onnx'):
        return 'torch'
    if weights is None and entry.weights is None:
        return 'torch'
    from occ_perception.engines.tensorrt_engine import missing_for_tensorrt
    return 'openvino' if missing_for_tensorrt() else 'tensorrt'
