"""Speeds that the authors of the networks published, beside which GPU figures stand."""

from __future__ import annotations

from dataclasses import dataclass

FLASHOCC = 'README.md of github.com/Yzichen/FlashOCC at 4084861'


@dataclass(frozen=True)
class PublishedSpeed:
    """Frames per second of a network alone. precision: 'f32', 'f16' or 'int8'. runtime and gpu: as the source names them."""

    fps: float
    precision: str
    runtime: str
    gpu: str
    source: str

    def __str__(self) -> str:
        return f'{self.fps:g} ({self.runtime}, {self.gpu})'


def _tensorrt(fps: float, precision: str = 'f16', form: str = 'FP16') -> PublishedSpeed:
    return PublishedSpeed(fps, precision, f'TensorRT {form}', 'RTX 3090', FLASHOCC)


def _panoptic(fps: float) -> tuple[PublishedSpeed, ...]:
    return (PublishedSpeed(fps, 'f32', 'PyTorch FP32', 'A100', FLASHOCC + ', table Panoptic-FlashOCC'),)


PUBLISHED_SPEEDS: dict[str, tuple[PublishedSpeed, ...]] = {
    'bevdet-occ-r50': (_tensorrt(92.1),),
    'flashocc-r50-M0': (_tensorrt(96.2, 'f32', 'FP32'), _tensorrt(197.6), _tensorrt(383.7, 'int8', 'FP16 and INT8'),
                        _tensorrt(397.0, 'int8', 'INT8')),
    'flashocc-r50': (_tensorrt(152.7),),
    **{f'panoptic-flashocc-r50-{name}': _panoptic(fps) for name, fps in (
        ('depth-tiny', 43.9), ('depth-tiny-pano', 39.8), ('depth', 38.7), ('depth-pano', 35.2), ('depth4d', 35.9),
        ('depth4d-pano', 30.4), ('depth4d-longterm8f', 35.6), ('depth4d-longterm8f-pano', 30.2))}}
"""By catalogue name; rows that are not here have no published speed that is known (SCOcc's and BEVDet's repositories give none)."""
