"""What every inference backend is: a function from images and lift tables to labels."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class EngineUnavailable(ValueError):
    """A backend cannot run here; the message says what is missing and what to do."""


class Engine(Protocol):
    """One network with its weights, ready to run in the thread that calls it.

    description: backend, device, precision and threads, for the log.
    """

    description: str

    def infer(self, images: np.ndarray, tables: dict[str, np.ndarray]) -> np.ndarray:
        """Semantic labels (nx, ny, nz) uint8 of images (N, H, W, 3) uint8 RGB at network size and the lift tables."""
        ...
