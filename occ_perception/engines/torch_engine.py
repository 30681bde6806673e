"""PyTorch itself as a backend: any network of the catalogue, on the GPU where there is one, else on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from occ_perception.checkpoints import load_weights
from occ_perception.networks.build import build_network
from occ_perception.networks.parts.lift_splat import LiftTensors


class TorchEngine:
    """Runs a network in float32. weights: a checkpoint, or None for seeded random weights."""

    def __init__(self, network: str, weights: Path | None, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        torch.manual_seed(0)
        self._network = build_network(network)
        if weights is not None:
            load_weights(self._network, weights)
        self._network.to(self._device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        device = torch.cuda.get_device_name() if self._device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
        self.description = f'torch {torch.__version__}, {device}, f32' + ('' if weights else ', RANDOM WEIGHTS')

    @torch.inference_mode()
    def infer(self, images: np.ndarray, tables: dict[str, np.ndarray]) -> np.ndarray:
        """See Engine.infer."""
        lift = LiftTensors.from_arrays(tables, self._device)
        return self._network.predict(torch.from_numpy(images)[None].to(self._device), lift)[0].cpu().numpy()
