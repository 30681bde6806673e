"""Weights files: PyTorch checkpoints read without running code, safetensors written, variants told from their shapes."""

from occ_perception.checkpoints.differences import describe_differences
from occ_perception.checkpoints.weights import load_weights, read_state, save_weights

__all__ = ['describe_differences', 'load_weights', 'read_state', 'save_weights']
