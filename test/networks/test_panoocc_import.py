"""Published PanoOcc checkpoints become weights of this suite: old spellings, repeated branches, twins told by name."""

from __future__ import annotations

import pytest
import torch

from occ_perception.checkpoints import load_weights, read_state
from occ_perception.checkpoints.importing import import_checkpoint
from occ_perception.checkpoints.layouts import respelled
from occ_perception.checkpoints.panoocc_variants import panoocc_obstacles
from occ_perception.networks.build import build_network
from occ_perception.networks.panoocc.config import CONFIGS


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device('meta'):
        return {key: tuple(value.shape) for key, value in build_network(name).state_dict().items()}


def test_first_spelling_of_deformable_convolutions_is_read() -> None:
    old = {'img_backbone.layer3.0.conv2_offset.bias': 1, 'img_backbone.layer3.0.conv2.weight': 2}
    assert respelled(old) == {'img_backbone.layer3.0.conv2.conv_offset.bias': 1, 'img_backbone.layer3.0.conv2.weight': 2}


def test_what_another_network_has_is_said() -> None:
    found = panoocc_obstacles(shapes('panoocc-panoptic-small-1f'), CONFIGS['panoocc-panoptic-small-4f'])
    assert found == ('4 places per voxel instead of 8 places per voxel',)
    assert not panoocc_obstacles(shapes('panoocc-base'), CONFIGS['panoocc-base-pretrain'])
    assert 'an InternImage backbone instead of' in panoocc_obstacles(shapes('panoocc-panoptic-large-4f'),
                                                                     CONFIGS['panoocc-panoptic-base-4f'])[0]


def test_a_checkpoint_is_imported_with_the_branches_of_the_last_layer(tmp_path) -> None:
    name = 'panoocc-panoptic-small-1f'
    torch.manual_seed(0)
    state = {f'module.{key}': value.clone() for key, value in build_network(name).state_dict().items()}
    for layer in range(6):
        state[f'module.pts_bbox_head.cls_branches.{layer}.6.bias'] = torch.full((10,), float(layer))
    torch.save({'state_dict': state, 'meta': {'epoch': 24}}, tmp_path / 'epoch_24.pth')
    imported = import_checkpoint(tmp_path / 'epoch_24.pth')
    assert imported.manifest.network == name and imported.manifest.parameters == 47_606_218
    assert torch.equal(read_state(imported.weights)['img_neck.fpn_convs.3.conv.bias'],
                       state['module.img_neck.fpn_convs.3.conv.bias'])
    network = build_network(name)
    load_weights(network, imported.weights)
    assert network.pts_bbox_head.cls_branches[0][6].bias.tolist() == [5.0] * 10
    with pytest.raises(ValueError, match='has no depth bins'):
        import_checkpoint(tmp_path / 'epoch_24.pth', depth=(1.0, 45.0, 0.5))
