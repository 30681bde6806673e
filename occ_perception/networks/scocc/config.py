"""SCOcc configurations: FlashOcc with multi-scale fusion in the BEV encoder and coordinate attention before the head."""

from __future__ import annotations

from occ_perception.networks.flashocc.config import BackboneConfig, FlashOccConfig

CONFIGS = {
    'scocc-r50': FlashOccConfig(mscf=True, coordinate_attention=True),
    'scocc_sample': FlashOccConfig(
        backbone=BackboneConfig('basic', 32, (32, 64, 128, 256), (2, 2, 2, 2), (1, 2, 3)),
        neck_channels=96, lift_channels=32, bev_widths=(48, 96, 192), bev_channels=32, head_channels=48,
        mscf=True, coordinate_attention=True),
}
