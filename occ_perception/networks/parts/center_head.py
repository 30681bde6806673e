"""Instance-centre head of Panoptic-FlashOcc (a CenterPoint head with one task)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from occ_perception.networks.parts.conv_module import ConvModule

_HEATMAP_BIAS = -2.19
"""Initial logit: every cell starts with a score of 0.1."""


class CenterMaps(NamedTuple):
    """What is decoded into instance centres, each (M, channels, Y, X) over the cells of the BEV map."""

    reg: Tensor
    """2: centre within its cell along x and y [cells]."""
    height: Tensor
    """1: z of the centre [m]."""
    heatmap: Tensor
    """One per object class: logit of a centre lying in the cell."""


class BoxMaps(NamedTuple):
    """The centre maps and the box parameters that training supervises beside them, each (M, channels, Y, X)."""

    reg: Tensor
    """2: centre within its cell along x and y [cells]."""
    height: Tensor
    """1: z of the centre [m]."""
    dim: Tensor
    """3: logarithm of the box size [log m]."""
    rot: Tensor
    """2: sine and cosine of the yaw."""
    vel: Tensor
    """2: velocity along x and y [m/s]."""
    heatmap: Tensor
    """One per object class: logit of a centre lying in the cell."""


class CenterHead(nn.Module):
    """BEV map (M, in_channels, Y, X) -> maps of instance centres; the class order of the heatmap is the checkpoint's."""

    def __init__(self, in_channels: int, classes: int = 10, channels: int = 64) -> None:
        super().__init__()
        self.shared_conv = ConvModule(in_channels, channels, 3, norm=True, relu=True)
        widths = {'reg': 2, 'height': 1, 'dim': 3, 'rot': 2, 'vel': 2, 'heatmap': classes}
        self.task_heads = nn.ModuleList([nn.ModuleDict({
            name: nn.Sequential(ConvModule(channels, channels, 3, norm=True, relu=True), nn.Conv2d(channels, width, 3, padding=1))
            for name, width in widths.items()})])
        last = self._branch('heatmap')[1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, _HEATMAP_BIAS)

    def _branch(self, name: str) -> nn.Sequential:
        head = self.task_heads[0]
        assert isinstance(head, nn.ModuleDict)
        branch = head[name]
        assert isinstance(branch, nn.Sequential)
        return branch

    def forward(self, bev: Tensor) -> BoxMaps:
        """All maps, for training."""
        shared = self.shared_conv(bev)
        return BoxMaps(*(self._branch(name)(shared) for name in BoxMaps._fields))

    def predict(self, bev: Tensor) -> CenterMaps:
        """The three maps that instances are decoded from: half the work."""
        shared = self.shared_conv(bev)
        return CenterMaps(*(self._branch(name)(shared) for name in CenterMaps._fields))
