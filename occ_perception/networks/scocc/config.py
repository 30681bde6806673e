"""SCOcc configurations: FlashOcc with multi-scale fusion in the BEV encoder and coordinate attention before the head."""

from __future__ import annotations

from dataclasses import replace

from occ_perception.networks.flashocc.config import BackboneConfig, FlashOccConfig, stereo


def _scocc(config: FlashOccConfig) -> FlashOccConfig:
    return replace(config, mscf=True, coordinate_attention=True)


_SAMPLE = _scocc(FlashOccConfig(
    backbone=BackboneConfig('basic', 32, (32, 64, 128, 256), (2, 2, 2, 2), (1, 2, 3)),
    neck_channels=96, lift_channels=32, bev_widths=(48, 96, 192), bev_channels=32, head_channels=48))

CONFIGS = {
    'scocc-r50': _scocc(FlashOccConfig()),
    'scocc-r50-4d-stereo': _scocc(stereo()),
    'scocc-r50-6f': _scocc(stereo(6)),
    'scocc-stbase-4d-stereo-512x1408': _scocc(stereo(swin=True)),
    'scocc-stbase-4f': _scocc(stereo(4, swin=True)),
    'scocc_sample': _SAMPLE,
    'scocc_sample_2f': replace(_SAMPLE, past_frames=1),
}
