"""Bags played through the composition in lockstep, with what came out over DDS and what the predictor inside said."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from live import Ear, ros, running, until
from sensor_msgs.msg import PointCloud2

from occ_msgs.msg import InstanceArray, VoxelGrid
from occ_perception.datasets.dialects import Sources
from occ_perception.nodes import system
from occ_perception.nodes.conversions import stamp_ns
from occ_perception.nodes.predictors import make_predictor
from occ_perception.runtime.frames import OccupancyPrediction, PendingPrediction, SensorFrame
from occ_perception.runtime.predictor import Predictor

LOSSLESS = {'depth': 200, 'reliability': 'reliable'}
"""Settings of the picture subscriptions: what a busy machine would lose, a comparison would miss."""


@dataclass
class Heard:
    """What a replay gave. voxels, instances and points (of networks that label them): messages by reference stamp; predictions:
    all, in order; diagnostics: the values of the occupancy node's status messages; tally: serving.Tally at the end."""

    voxels: dict[int, VoxelGrid] = field(default_factory=dict)
    instances: dict[int, InstanceArray] = field(default_factory=dict)
    points: dict[int, PointCloud2] = field(default_factory=dict)
    predictions: list[OccupancyPrediction] = field(default_factory=list)
    diagnostics: list[dict[str, str]] = field(default_factory=list)
    tally: Any = None

    @property
    def past(self) -> list[tuple[int, ...]]:
        """Stamps of the past frames of each prediction."""
        return [prediction.past_stamps_ns for prediction in self.predictions]


class Witness:
    """A Predictor whose predictions are kept."""

    def __init__(self, predictor: Predictor, kept: list[OccupancyPrediction]) -> None:
        self.entry, self._predictor, self._kept = predictor.entry, predictor, kept

    @property
    def news(self) -> str:
        return self._predictor.news

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        pending = self._predictor.submit(frame)

        def result() -> OccupancyPrediction:
            self._kept.append(pending.result())
            return self._kept[-1]
        return PendingPrediction(result)

    def reset(self) -> None:
        self._predictor.reset()


def replayed(bag: Path, network: str, weights: str = '', backend: str = 'auto', occupancy: dict[str, Any] | None = None,
             during: Callable[[Any, Ear], None] | None = None, timeout_s: float = 120.0, player: dict[str, Any] | None = None,
             sources: Sources | None = None, **replay: Any) -> Heard:
    """Play a bag through all nodes in one process.

    occupancy, player: further parameters of these nodes; max_rate of the first holds for both. sources: the bag's, where they are
    to be other than found. during: called with the composition and the
    listener while the bag is played.
    """
    played = system.Replay(str(bag), lockstep=True, **replay)
    specs = system.nodes(network, sources or system.sources_of(str(bag)), backend, weights, played)
    for spec in specs:
        if spec.name == 'occupancy':
            spec.parameters.update(occupancy or {})
        if spec.name == 'player':
            spec.parameters.update(player or {})
            spec.parameters['max_rate'] = (occupancy or {}).get('max_rate', spec.parameters['max_rate'])
        if spec.name == 'cameras':
            topics = [value for name, value in spec.parameters.items() if name.endswith('.image_topic')]
            spec.parameters.update({f'qos_overrides./{topic}.subscription.{policy}': value
                                    for topic in topics for policy, value in LOSSLESS.items()})
    heard = Heard()

    def make(name: str, given: str, values: Any) -> Witness:
        return Witness(make_predictor(name, given, values), heard.predictions)

    with ros() as context, running(specs, context, make) as system_, contextlib.closing(Ear(
            context, voxels=(VoxelGrid, 'occ/voxels', 200), instances=(InstanceArray, 'occ/instances', 200),
            points=(PointCloud2, 'occ/point_labels', 200), diagnostics=(DiagnosticArray, '/diagnostics', 50))) as ear:
        assert system_.start()
        if during is not None:
            during(system_, ear)
        assert system_.finished.wait(timeout_s), 'the bag was not played through'
        assert until(lambda: (t := system_.tally()).published + sum(t.dropped.values()) == t.due, timeout_s), system_.tally()
        heard.tally = system_.tally()
        assert ear.wait(lambda got: len(got['voxels']) == len(got['instances']) == heard.tally.published)
        labelled = sum(prediction.points is not None for prediction in heard.predictions[1:])  # the first one warmed up
        assert ear.wait(lambda got: len(got['points']) >= labelled)
        spoken = len(ear.heard['diagnostics'])
        ear.wait(lambda got: len(got['diagnostics']) > spoken + 3, 3)
    heard.voxels = {stamp_ns(message.header.stamp): message for message in ear.heard['voxels']}
    heard.instances = {stamp_ns(message.header.stamp): message for message in ear.heard['instances']}
    heard.points = {stamp_ns(message.header.stamp): message for message in ear.heard['points']}
    heard.diagnostics = [{pair.key: pair.value for pair in status.values} for message in ear.heard['diagnostics']
                         for status in message.status if status.name.endswith('occupancy: status')]
    return heard
