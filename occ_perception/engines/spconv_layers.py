"""The sparse convolutions of a network run by the `spconv` package, which finds neighbours itself: quick on a GPU.

Parameters, and what comes out, are those of networks.parts.sparse_conv; no neighbour tables enter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.geometry.neighbour_tables import Halving, SparseSpec
from occ_perception.geometry.sparse_neighbours import cell_table
from occ_perception.networks.parts.sparse_conv import SparseConv3d


def run_by_spconv(network: nn.Module) -> None:
    """Exchange the layers of a network, or an encoder, in eval mode; it then takes SpconvPlaces in place of tables.

    Raises EngineUnavailable without spconv 2.x.
    """
    package = _package()
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if isinstance(module, SparseConv3d) and module.weight.flatten(1).shape[1] > module.weight.shape[-1]:
                setattr(parent, name, _SpconvConv3d(module, package))


def _package() -> Any:
    try:
        import spconv.pytorch as package
        from spconv import __version__ as version
    except ImportError as error:
        raise EngineUnavailable(f'sparse convolution by spconv needs that package: pip install spconv-cu126 (or the one for your '
                                f'CUDA; spconv alone runs on a CPU), or choose tables ({error})') from error
    if not version.startswith('2.'):
        raise EngineUnavailable(f'spconv {version} is installed, 2.x is needed: pip install --upgrade spconv-cu126')
    return package


class SpconvPlaces:
    """Where the voxels of one cloud lie, level by level as the layers reach them; stands where SparseTensors do.

    coords: (V, 3) int32 cells of the first level, no two alike, in the order of the features.
    """

    def __init__(self, coords: Tensor, spec: SparseSpec) -> None:
        self._spec = spec
        self._coords = [nn.functional.pad(coords.int(), (1, 0))]
        self.pairs: dict[str, Any] = {}
        self.near = tuple(_Place(self, level, None) for level in range(spec.submanifold))
        self.steps = tuple(_Place(self, level, step) for level, step in enumerate(spec.steps))

    @property
    def cells(self) -> Tensor:
        """Row of the last level for each cell of its grid, as in SparseTensors; when all layers have been run."""
        return cell_table(self._coords[-1][:, 1:], self._spec.shapes[-1])

    def tensor(self, package: Any, features: Tensor, level: int) -> Any:
        """SparseConvTensor of a level's features."""
        return package.SparseConvTensor(features, self._coords[level], list(self._spec.shapes[level]), 1, indice_dict=self.pairs)

    def reached(self, level: int, coords: Tensor) -> None:
        """Tell where the voxels of a level lie, (V, 4) int32."""
        if level == len(self._coords):
            self._coords.append(coords)


class _Place:
    """One level's submanifold convolutions (step None), or the strided one that leaves it."""

    def __init__(self, places: SpconvPlaces, level: int, step: Halving | None) -> None:
        self.places, self.level, self.step = places, level, step


class _SpconvConv3d(nn.Module):
    """A SparseConv3d's parameters in spconv's layer, made when it is known what kind of a convolution it is."""

    def __init__(self, layer: SparseConv3d, package: Any) -> None:
        super().__init__()
        self.weight, self.bias, self._package = layer.weight, layer.bias, package
        self._layer: Any = None

    def forward(self, features: Tensor, place: _Place) -> Tensor:
        """(V, in) of the place's level -> (V_out, out)."""
        if self._layer is None:
            self._layer = self._made(place)
        if not len(features):
            place.places.reached(place.level + 1, torch.zeros(0, 4, dtype=torch.int32, device=features.device))
            return features.new_zeros(0, len(self.weight))
        out = self._layer(place.places.tensor(self._package, features, place.level))
        if place.step is not None:
            place.places.reached(place.level + 1, out.indices)
        return out.features

    def _made(self, place: _Place) -> Any:
        out, *kernel, inward = self.weight.shape
        given: dict[str, Any] = {'bias': self.bias is not None, 'indice_key': f'{place.level} {place.step is not None} {kernel}'}
        if place.step is None:
            layer = self._package.SubMConv3d(inward, out, kernel, **given)
        else:
            layer = self._package.SparseConv3d(inward, out, kernel, place.step.stride, place.step.padding, **given)
        layer.weight, layer.bias = self.weight, self.bias
        return layer.eval()
