"""How pictures enter the image backbones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from occ_perception.catalogue import ImagePreprocessing


def normalised(images: Tensor, preprocessing: ImagePreprocessing) -> Tensor:
    """RGB images (..., H, W, 3) uint8 -> (..., 3, H', W') float, channels ordered, scaled, halved and padded as published."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    x = images.float().movedim(-1, -3)
    x = ((x.flip(-3) if preprocessing.channels == 'bgr' else x) - mean) / std
    if preprocessing.halved:
        x = F.avg_pool2d(x, 2)
    height, width = preprocessing.tensor_size
    below, right = height - x.shape[-2], width - x.shape[-1]
    return F.pad(x, (0, right, 0, below)) if below or right else x
