"""How pictures enter the image backbones of the BEVDet line."""

from __future__ import annotations

import torch
from torch import Tensor

from occ_perception.catalogue import ImagePreprocessing


def normalised(images: Tensor, preprocessing: ImagePreprocessing) -> Tensor:
    """RGB images (..., H, W, 3) uint8 -> (..., 3, H, W) float, channels reversed to B, G, R and scaled as published."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (images.float().movedim(-1, -3).flip(-3) - mean) / std
