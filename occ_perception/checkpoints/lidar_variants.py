"""What makes weights with a LiDAR branch another network than a configuration of the catalogue; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from occ_perception.catalogue import NetworkEntry
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.fusionocc.config import FusionOccConfig

Shapes = Mapping[str, tuple[int, ...]]
NO_CAMERAS = 'no image backbone'
_ENCODERS = {'pts_middle_encoder.': 'a LiDAR map (EFFOcc)', 'lidar_encoder.': 'a LiDAR volume (FusionOcc)'}


def lidar_words(shapes: Shapes) -> str:
    """The LiDAR branch that shapes tell, in words."""
    return next((words for prefix, words in _ENCODERS.items() if any(key.startswith(prefix) for key in shapes)), 'no LiDAR branch')


def lidar_obstacles(shapes: Shapes, row: NetworkEntry, config: EffOccConfig | FusionOccConfig,
                    backbone: tuple[str, str]) -> tuple[str, ...]:
    """Differences in words, '' none. backbone: image backbones of the shapes and of the configuration, in words."""
    own = 'pts_middle_encoder.' if isinstance(config, EffOccConfig) else 'lidar_encoder.'
    choices = [(lidar_words(shapes), _ENCODERS[own]), backbone]
    if isinstance(config, EffOccConfig):
        outputs = shapes.get('occ_head.predicter.2.weight', (0,))[0]
        choices.append((f'{outputs} head outputs', f'{config.classes * row.grid.shape[2]} head outputs'))
        flow = any(key.startswith('occ_head.flow_predicter.') for key in shapes)
        choices.append(('a flow head' if flow else 'no flow head', 'a flow head' if config.flow else 'no flow head'))
        if config.camera is not None and row.lift is not None:
            depth = shapes.get('img_view_transformer.depth_net.6.weight', (0,))[0]
            wanted = row.lift.bins + config.camera.lift_channels
            choices.append((f'{depth} outputs of the depth net', f'{wanted} outputs of the depth net'))
    return tuple(f'{there} instead of {here}' for there, here in choices if there != here)
