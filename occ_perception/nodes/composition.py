"""All nodes in one process: each spun in a thread of its own, frames handed over by reference."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from occ_perception.nodes.cameras import CamerasNode
from occ_perception.nodes.dds import use_default_profile
from occ_perception.nodes.exchange import Exchange
from occ_perception.nodes.lidar import LidarNode
from occ_perception.nodes.occupancy import OccupancyNode
from occ_perception.nodes.player import PlayerNode
from occ_perception.nodes.poses import TransformFeed
from occ_perception.nodes.running import Spinner, stop_on_signal
from occ_perception.nodes.serving import PredictorLike
from occ_perception.nodes.system import NodeSpec
from occ_perception.nodes.views import ViewsNode

DRAIN_S = 30.0
"""Longest wait for the last grids when the bag has been played."""


class Composition:
    """The nodes of a system, made and spun; `nodes` by name."""

    def __init__(self, specs: Sequence[NodeSpec], namespace: str = '', context: Context | None = None,
                 make: Callable[[str, str, Mapping[str, Any]], PredictorLike] | None = None) -> None:
        exchange = Exchange()
        namespace = f'/{namespace.strip("/")}'
        # One node follows /clock and lends its clock to the others: each /clock message costs every subscriber a wake-up.
        feed = self._feed = TransformFeed('occ', namespace, context, any(spec.parameters.get('use_sim_time') for spec in specs))
        factories: dict[str, Callable[..., Node]] = {
            'cameras': partial(CamerasNode, exchange, feed.clock), 'lidar': partial(LidarNode, exchange, feed),
            'occupancy': partial(OccupancyNode, exchange, feed, make), 'views': partial(ViewsNode, feed.clock),
            'player': PlayerNode}
        self.nodes: dict[str, Node] = {}
        self._spinners: list[Spinner] = []
        try:
            for spec in specs:
                overrides = [Parameter(name, value=value) for name, value in spec.parameters.items()
                             if name != 'use_sim_time']
                node = factories[spec.name](namespace=namespace, parameter_overrides=overrides, context=context)
                self.nodes[spec.name] = node
                self._spinners.append(Spinner(node))
        except BaseException:
            self.close()
            raise

    @property
    def finished(self) -> threading.Event | None:
        """Set when the player has played its bag; None without a player."""
        return getattr(self.nodes.get('player'), 'finished', None)

    def start(self) -> bool:
        """Activate the network, then begin to play; returns whether the network serves."""
        served = self._occupancy.autostart()
        player = self.nodes.get('player')
        if served and isinstance(player, PlayerNode):
            player.start()
        return served

    @property
    def _occupancy(self) -> OccupancyNode:
        node = self.nodes['occupancy']
        assert isinstance(node, OccupancyNode)
        return node

    def tally(self) -> Any:
        """Counts of the occupancy node (serving.Tally)."""
        return self._occupancy.tally()

    def drain(self, timeout_s: float, stop: threading.Event) -> None:
        """Wait until every due set has been served or dropped, at most so long, or until told to stop."""
        until = time.monotonic() + timeout_s
        while not stop.is_set() and time.monotonic() < until:
            tally = self.tally()
            if tally is None or tally.published + sum(tally.dropped.values()) >= tally.due:
                return
            stop.wait(0.05)

    def close(self) -> None:
        """Stop everything: the sources first, the network last."""
        order = ('player', 'cameras', 'lidar', 'views', 'occupancy')
        for spinner in sorted(self._spinners, key=lambda spinner: order.index(spinner.node.get_name())):
            spinner.close()
        self._feed.close()


def run_composed(specs: Sequence[NodeSpec], namespace: str = '', log_level: str = 'info') -> tuple[bool, Any]:
    """Run the nodes in this process until a signal, or the end of the bag that a player among them plays.

    Returns whether the network served, and the counts of the occupancy node (serving.Tally), None without a player.
    """
    use_default_profile()
    rclpy.init(args=['--ros-args', '--log-level', log_level], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with stop_on_signal() as stop:
            system = Composition(specs, namespace)
            try:
                if not system.start():
                    return False, None
                finished = system.finished
                while not stop.wait(0.1) and not (finished is not None and finished.is_set()):
                    pass
                if finished is not None:
                    system.drain(DRAIN_S, stop)
            finally:
                system.close()
            return True, None if finished is None else system.tally()
    finally:
        rclpy.try_shutdown()
