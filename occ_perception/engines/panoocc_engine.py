"""PanoOcc in PyTorch, on the GPU where there is one, else on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from occ_perception.engines.panoocc_tables import MOTION, POINT_INDEX, POINT_SHARE, WARP
from occ_perception.engines.protocol import BoxArrays, FrameMemory, Inference, LidarInput, PlacedFrame
from occ_perception.geometry.volume_lookup import AXES, HEIGHTS
from occ_perception.networks.panoocc.encoder import ViewTensors
from occ_perception.networks.panoocc.network import PanoOcc, occupancy_labels, panoptic_labels, point_labels
from occ_perception.networks.parts.volume_warp import warp_volume


class PanoOccEngine:
    """Runs a network in float32, see Engine; frames as runtime.voxel_places has them."""

    def __init__(self, network: PanoOcc) -> None:
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self._network = network.to(self._device).eval()
        device = torch.cuda.get_device_name() if self._device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
        self.description = f'torch {torch.__version__}, {device}, f32'

    @torch.inference_mode()
    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer; past frames that are not known are left out of `frames`."""
        assert frames[0].tables is not None
        tables = {name: self._tensor(table) for name, table in frames[0].tables.items()}
        past = [warp_volume(frame.memory.map, self._tensor(frame.tables[WARP])) for frame in frames[1:]
                if frame.memory is not None and frame.tables is not None]
        network = self._network
        output = network(self._tensor(images), ViewTensors(*(tables[name] for name in ViewTensors._fields)), tables[MOTION], past)
        memory = FrameMemory(map=output.volume) if network.config.past_frames else None
        if output.occupied is not None:
            return Inference(occupancy_labels(output.logits, output.occupied).cpu().numpy(), None, memory)
        labels = panoptic_labels(output.logits, [tables[name] for name in AXES], HEIGHTS)
        points = None
        if POINT_INDEX in tables:
            points = point_labels(output.logits, tables[POINT_INDEX], tables[POINT_SHARE]).cpu().numpy()
        boxes = BoxArrays(*(values.cpu().numpy() for values in output.boxes))
        return Inference(labels.contiguous().cpu().numpy(), None, memory, boxes=boxes, point_labels=points)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
