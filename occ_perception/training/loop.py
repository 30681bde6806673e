"""The training loop of the occupancy networks: data in, averaged weights out, resumable at any checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.checkpoints import read_state
from occ_perception.labels import FREE, THINGS
from occ_perception.networks.configs import config_of
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.effocc.flow_head import FlowOccupancyHead2d
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.networks.flashocc.config import FlashOccConfig
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.training.ema import MovingAverage
from occ_perception.training.inputs import CAMERAS, LIDAR, NOTHING, NetworkInputs, build_trainable, encode, network_inputs
from occ_perception.training.loader import batches
from occ_perception.training.losses import flow_error, histogram_cross_entropy, masked_cross_entropy, soft_jaccard
from occ_perception.training.samples import TrainingSample, class_histogram, depth_histogram
from occ_perception.training.start import PICTURES, start_from, start_pictures_from


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the result of a run, beside the data. start: weights to begin from, '' for random ones;
    frozen_pictures: leave backbone and neck of the pictures as they begin.

    Learning rate: linear warm-up over warmup_steps, then half a cosine down to 2 % of it at `steps`. Loss weights: soft Jaccard,
    depth, pixel class and flow count jaccard_weight, depth_weight, class_weight and flow_weight times the cross entropy.
    """

    network: str
    steps: int
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 200
    gradient_clip: float = 5.0
    ema_decay: float = 0.999
    jaccard_weight: float = 1.0
    depth_weight: float = 0.3
    class_weight: float = 0.3
    flow_weight: float = 0.5
    seed: int = 0
    start: str = ''
    frozen_pictures: bool = False


@dataclass(frozen=True)
class Batch:
    """Stacked samples.

    voxels (V,): flat indices into (K, Z) of the visible voxels that are looked at, where columns (K,) are flat indices into
    (B, X, Y); labels (V,) their classes, flow (V, 2) their velocities in m/s, weights (V,) how many visible voxels each stands for.
    depth, pixel_class: histograms per feature cell.
    """

    inputs: NetworkInputs
    columns: Tensor
    voxels: Tensor
    labels: Tensor
    flow: Tensor
    weights: Tensor
    depth: Tensor
    pixel_class: Tensor


FREE_SHARE = 0.25
"""Share of the visible free voxels that a step looks at; most are far from any surface. The others count for them."""


MASKED_SHARE = 0.2
"""Probability that the cameras of a training sample are masked, and as much that its LiDAR is, in networks that have both."""


def collate(row: NetworkEntry, samples: Sequence[TrainingSample], random: np.random.Generator,
            masked_share: float = 0.0) -> Batch:
    """Samples to a batch: every visible occupied voxel, and a random FREE_SHARE of the visible free ones.

    masked_share: see MASKED_SHARE.
    """
    lift = row.frustum
    kinds = random.choice((CAMERAS, LIDAR, NOTHING), len(samples), p=(masked_share, masked_share, 1 - 2 * masked_share)).tolist()
    if set(kinds) == {LIDAR}:  # a batch without any voxel has no statistics
        kinds[0] = NOTHING
    inputs = network_inputs(row, samples, kinds if row.lidar is not None else ())
    heights = row.grid.shape[2]
    truth = np.stack([s.labels for s in samples]).ravel()
    moving = np.zeros((len(truth), 2), np.float16)
    for number, sample in enumerate(samples):
        moving[number * sample.labels.size + sample.moving] = sample.flow
    visible = np.flatnonzero(np.stack([s.visible for s in samples]))
    free = truth[visible] == FREE
    visible = visible[~free | (random.random(len(visible), np.float32) < FREE_SHARE)]
    columns, place = np.unique(visible // heights, return_inverse=True)
    labels = truth[visible].astype(np.int64)
    weights = np.where(labels == FREE, 1 / FREE_SHARE, 1).astype(np.float32)
    depth = np.stack([depth_histogram(s.depth_m, lift.depth_start, lift.depth_step, lift.bins) for s in samples])
    classes = np.stack([class_histogram(s.pixel_class) for s in samples])
    return Batch(inputs, torch.from_numpy(columns), torch.from_numpy(place * heights + visible % heights), torch.from_numpy(labels),
                 torch.from_numpy(moving[visible].astype(np.float32)), torch.from_numpy(weights), torch.from_numpy(depth),
                 torch.from_numpy(classes))


def class_weights(voxel_counts: np.ndarray) -> Tensor:
    """Weight per class, (classes,): 1 / sqrt(share of visible voxels), scaled so that an average voxel weighs 1, at most 12."""
    share = np.maximum(voxel_counts, 1) / max(voxel_counts.sum(), 1)
    weight = 1 / np.sqrt(share)
    return torch.from_numpy(np.minimum(weight / (weight * share).sum(), 12.0).astype(np.float32))


def image_channels(network: str) -> int:
    """Channels of a network's image features."""
    config = config_of(network)
    if isinstance(config, FlashOccConfig):
        return config.neck_channels
    assert isinstance(config, EffOccConfig) and config.camera is not None
    return config.camera.neck_channels


class Trainer:
    """A network, its optimiser and its moving average; steps of training and checkpoints.

    pixel_classifier exists in training only: it makes image features name the class of what they see.
    """

    def __init__(self, plan: TrainingPlan, voxel_counts: np.ndarray, bf16: bool) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.row, self.bf16 = plan, entry(plan.network), bf16
        network = build_trainable(plan.network)
        if plan.start and isinstance(network, EffOcc):
            start_pictures_from(network, read_state(plan.start))
        elif plan.start and isinstance(network, FlashOcc):
            start_from(network, read_state(plan.start))
        for module in network.modules():  # sparse kernels have five axes and stay as they are
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.set_train()
        self.pixel_classifier = nn.Conv2d(image_channels(plan.network), FREE + 1, 1)
        self.weights = class_weights(voxel_counts)
        named = [pair for pair in (*self.network.named_parameters(), *self.pixel_classifier.named_parameters())
                 if pair[1].requires_grad]
        self.optimizer = torch.optim.AdamW(
            [{'params': [p for _, p in named if p.dim() > 1], 'weight_decay': plan.weight_decay},
             {'params': [p for _, p in named if p.dim() <= 1], 'weight_decay': 0.0}], lr=plan.learning_rate)
        self.average = MovingAverage(self.network, plan.ema_decay)
        self.step = 0

    def set_train(self) -> None:
        """Put the network into train mode; what is frozen stays in eval mode and gets no gradient."""
        self.network.train()
        if self.plan.frozen_pictures:
            for name in PICTURES:
                getattr(self.network, name).eval().requires_grad_(False)

    def learning_rate(self) -> float:
        """Learning rate of the present step."""
        plan = self.plan
        if self.step < plan.warmup_steps:
            return plan.learning_rate * (self.step + 1) / plan.warmup_steps
        done = (self.step - plan.warmup_steps) / max(plan.steps - plan.warmup_steps, 1)
        return plan.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every loss of a batch, unweighted."""
        with torch.autocast('cpu', torch.bfloat16, enabled=self.bf16):
            bev, depth_logits, features = encode(self.network, batch.inputs)
            head = self.network.occ_head
            columns = head.column_logits(bev, batch.columns)
            flow = head.column_flow(bev, batch.columns) if isinstance(head, FlowOccupancyHead2d) else None
            pixel_logits = self.pixel_classifier(features.flatten(0, 1))
        logits = columns.flatten(0, 1).index_select(0, batch.voxels)
        losses = {
            'occupancy': masked_cross_entropy(logits, batch.labels, self.weights, batch.weights),
            'jaccard': soft_jaccard(logits, batch.labels, batch.weights),
            'depth': histogram_cross_entropy(depth_logits.flatten(0, 1), batch.depth.flatten(0, 1)),
            'pixel_class': histogram_cross_entropy(pixel_logits, batch.pixel_class.flatten(0, 1)),
        }
        if flow is not None:
            things = torch.isin(batch.labels, torch.tensor(THINGS))
            losses['flow'] = flow_error(flow.flatten(0, 1)[batch.voxels[things]], batch.flow[things])
        return losses

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser and the average; returns the losses. Raises FloatingPointError when they are not finite."""
        for group in self.optimizer.param_groups:
            group['lr'] = self.learning_rate()
        losses = self.losses(batch)
        plan = self.plan
        weights = {'jaccard': plan.jaccard_weight, 'depth': plan.depth_weight, 'pixel_class': plan.class_weight,
                   'flow': plan.flow_weight}
        total = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(float(total.detach())):
            raise FloatingPointError(f'loss is not finite at step {self.step}: {values}; lower --learning-rate')
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), plan.gradient_clip)
        self.optimizer.step()
        self.average.update(self.network)
        self.step += 1
        return values

    def save(self, path: Path) -> None:
        """Write all that resuming needs; the old file stays until the new one is whole."""
        unfinished = path.with_suffix('.part')
        torch.save({'plan': asdict(self.plan), 'step': self.step, 'network': self.network.state_dict(),
                    'pixel_classifier': self.pixel_classifier.state_dict(), 'optimizer': self.optimizer.state_dict(),
                    'average': self.average.state, 'average_updates': self.average.updates}, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises ValueError when it belongs to another plan."""
        saved = torch.load(path, weights_only=True)
        if saved['plan'] != asdict(self.plan):
            changed = [f'{k}: {v} there, {asdict(self.plan).get(k)} now' for k, v in saved['plan'].items()
                       if asdict(self.plan).get(k) != v]
            raise ValueError(f'{path} was made by another plan ({"; ".join(changed)}): train with the same options, or in a new '
                             '--out folder')
        self.network.load_state_dict(saved['network'])
        self.pixel_classifier.load_state_dict(saved['pixel_classifier'])
        self.optimizer.load_state_dict(saved['optimizer'])
        self.average.state, self.average.updates = saved['average'], saved['average_updates']
        self.step = saved['step']


def train(plan: TrainingPlan, files: Sequence[Path], voxel_counts: np.ndarray, folder: Path, bf16: bool,
          checkpoint_every: int = 250) -> Iterator[tuple[Trainer, dict[str, float]]]:
    """Train to plan.steps, resuming from folder/checkpoint.pt where there is one; yields after every checkpoint
    (once, without losses, when the run was at its end already).

    Losses are appended to folder/log.jsonl, averaged over the steps between two lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan, voxel_counts, bf16)
    checkpoint = folder / 'checkpoint.pt'
    if checkpoint.is_file():
        trainer.resume(checkpoint)
    if trainer.step >= plan.steps:
        yield trainer, {}
        return
    source = batches(files, plan.batch_size, plan.seed, trainer.step, plan.steps, partial(
        collate, trainer.row, masked_share=MASKED_SHARE if trainer.row.maskable else 0.0))
    recent: list[dict[str, float]] = []
    began = time.monotonic()
    with tqdm(total=plan.steps, initial=trainer.step, unit='step', desc=f'training {plan.network}') as progress, \
            open(folder / 'log.jsonl', 'a') as log:
        for batch in source:
            recent.append(trainer.train_step(batch))
            progress.update()
            if trainer.step % 20 == 0:
                means = {name: round(float(np.mean([r[name] for r in recent[-20:]])), 4) for name in recent[0]}
                progress.set_postfix(means)
                log.write(json.dumps({'step': trainer.step, 'seconds': round(time.monotonic() - began, 1),
                                      'learning_rate': trainer.learning_rate(), **means}) + '\n')
                log.flush()
            if trainer.step % checkpoint_every == 0 or trainer.step == plan.steps:
                trainer.save(checkpoint)
                yield trainer, {name: float(np.mean([r[name] for r in recent])) for name in recent[0]}
                recent.clear()
