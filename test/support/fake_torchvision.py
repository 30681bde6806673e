"""Stands in for torchvision, whose GPU decoder cannot be run here: the same call, answered by libjpeg."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import simplejpeg


@pytest.fixture
def fake_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision.io.decode_jpeg(list of files, mode, device) -> list of (3, H, W) uint8 tensors."""
    import torch

    def decode_jpeg(files, mode, device):
        assert mode == 'RGB' and all(file.dtype == torch.uint8 and file.ndim == 1 for file in files)
        try:
            return [torch.from_numpy(simplejpeg.decode_jpeg(file.numpy().tobytes())).permute(2, 0, 1).to(device) for file in files]
        except ValueError as error:
            raise RuntimeError(str(error)) from error

    package, io = ModuleType('torchvision'), ModuleType('torchvision.io')
    io.decode_jpeg, io.ImageReadMode = decode_jpeg, SimpleNamespace(RGB='RGB')
    package.io = io
    monkeypatch.setitem(sys.modules, 'torchvision', package)
    monkeypatch.setitem(sys.modules, 'torchvision.io', io)
