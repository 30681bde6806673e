"""Finds the weights of a network and opens it in the chosen backend."""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.building import BuildingEngine
from occ_perception.engines.graph_engine import engine_of
from occ_perception.engines.precision import chosen_precision, existing_files
from occ_perception.engines.protocol import EXACT, SPARSE_FORMS, TABLES, WARPED, Engine, EngineUnavailable
from occ_perception.engines.sessions import session_opener
from occ_perception.networks.configs import config_of
from occ_perception.networks.fusionocc.config import FusionOccConfig

BACKENDS = ('auto', 'openvino', 'onnxruntime', 'tensorrt', 'torch')
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


def check_memory(entry: NetworkEntry, memory: str) -> None:
    """Raises ValueError where past frames of a network cannot enter in that form."""
    if memory == WARPED and isinstance(config_of(entry.name), FusionOccConfig):
        raise ValueError(f'{entry.name} remembers in the form {EXACT!r} alone, {WARPED!r} is asked for: the volume of a past frame '
                         "is made with the present frame's depth hints and camera vectors, so none can be kept and moved")


def open_engine(entry: NetworkEntry, backend: str = 'auto', weights: str | Path | None = None,
                threads: int | None = None, memory: str = EXACT, precision: str = 'auto', wait: bool = True,
                sparse: str = TABLES) -> Engine:
    """The network in a backend, ready to run. memory: the form in which past frames enter, one of MEMORY_FORMS.

    'auto' takes torch for random weights and for .safetensors or .pth files, else TensorRT where it can run, else OpenVINO.
    precision: one of PRECISIONS, see chosen_precision; weights name the float32 file all the same, narrow ones stand beside it.
    wait: for a TensorRT engine that has to be built; else another backend answers until it is there (building.BuildingEngine).
    sparse: what finds the neighbours of LiDAR voxels, one of SPARSE_FORMS; SPCONV with the torch backend alone.
    Raises EngineUnavailable (a ValueError) with what is missing where the backend cannot run, ValueError as check_memory.
    """
    check_memory(entry, memory)
    backend = chosen_backend(entry, backend, weights)
    if sparse != TABLES:
        _check_sparse(entry, backend, sparse)
    precision = chosen_precision(backend, precision)
    if backend == 'torch':
        try:
            from occ_perception.engines.torch_engine import open_torch
        except ModuleNotFoundError as error:
            if error.name != 'torch':
                raise
            raise EngineUnavailable("backend 'torch' needs PyTorch: pip install torch, or give weights as .onnx") from error
        path = None if str(weights) == RANDOM_WEIGHTS else find_weights(entry, weights, ('.safetensors', '.pth'))
        return open_torch(entry, path, threads, sparse)
    if str(weights) == RANDOM_WEIGHTS:
        raise ValueError(f'weights={RANDOM_WEIGHTS!r} needs the torch backend, not {backend!r}')
    onnx_file = find_weights(entry, weights, ('.onnx',))
    files = existing_files(onnx_file, entry, precision)
    open_session = session_opener(backend, precision, threads)

    def open_graphs() -> Engine:
        if backend == 'tensorrt' and entry.lift is not None:
            from occ_perception.engines.tensorrt_engine import open_on_device
            return open_on_device(files, precision, entry, memory)
        return engine_of([open_session(file) for file in files], memory)
    if backend == 'tensorrt' and not wait:
        from occ_perception.engines.tensorrt_engine import building_command, local_plan
        if any(local_plan(file, precision).read() is None for file in files):
            stand_in = stand_in_for(entry, onnx_file, threads, memory)
            return BuildingEngine(stand_in, building_command(files, precision), open_graphs)
    return open_graphs()


def _check_sparse(entry: NetworkEntry, backend: str, sparse: str) -> None:
    if sparse not in SPARSE_FORMS:
        raise ValueError(f'sparse convolution {sparse!r} is unknown: choose one of {", ".join(SPARSE_FORMS)}')
    if not entry.sees_by_lidar:
        raise ValueError(f'{entry.name} looks at no LiDAR points: leave sparse convolution at {TABLES}')
    if backend != 'torch':
        raise ValueError(f'sparse convolution by {sparse} needs the torch backend, not {backend!r}: exported networks take tables')


def stand_in_for(entry: NetworkEntry, onnx_file: Path, threads: int | None, memory: str) -> Engine:
    """What answers while an engine of a file is built: torch with the checkpoint beside it, else OpenVINO with the file."""
    beside = next((file for file in map(onnx_file.with_suffix, ('.safetensors', '.pth')) if file.is_file()), None)
    if beside is not None and find_spec('torch') is not None:
        return open_engine(entry, 'torch', beside, threads, memory)
    return open_engine(entry, 'openvino', onnx_file, threads, memory)


def chosen_backend(entry: NetworkEntry, backend: str, weights: str | Path | None) -> str:
    """The backend itself, or for 'auto' the one that `open_engine` takes. Raises ValueError for one that is not in BACKENDS."""
    if backend not in BACKENDS:
        raise ValueError(f'backend {backend!r} is unknown: choose one of {", ".join(BACKENDS)}')
    if backend != 'auto':
        return backend
    if str(weights) == RANDOM_WEIGHTS or (weights is not None and Path(weights).suffix != '.onnx'):
        return 'torch'
    if weights is None and (entry.weights is None or not shipped_file(f'{entry.weights}.onnx').is_file()):
        return 'torch'
    from occ_perception.engines.tensorrt_engine import missing_for_tensorrt
    return 'openvino' if missing_for_tensorrt() else 'tensorrt'
