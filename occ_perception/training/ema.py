"""Exponential moving average of a network's weights and buffers."""

from __future__ import annotations

import math

import torch


class MovingAverage:
    """Average of every state_dict entry; decay grows to its limit as 1 - exp(-n / warmup) (as BEVDet's EMA hook)."""

    def __init__(self, network: torch.nn.Module, decay: float = 0.999, warmup_steps: int = 500) -> None:
        self.decay, self.warmup_steps, self.updates = decay, warmup_steps, 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        """Move the average towards the network's present state; integer buffers are copied."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.warmup_steps))
        for name, value in network.state_dict().items():
            average = self.state[name]
            if average.dtype.is_floating_point:
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)
