"""Straight to the edge, as with a forwarded port on the home's router."""

from collections.abc import Mapping
import contextlib

from tests.bench.edge import BenchEdge
from tests.bench.scene import Scene
from tests.bench.ways.base import Doors

__all__ = ["DirectWay"]


class DirectWay:
    """visitor ──▶ edge."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stack = contextlib.ExitStack()

    def start(self) -> Doors:
        self._edge = BenchEdge(self._scene, "direct", proxy_header=False)
        self._stack.callback(self._edge.stop)
        return Doors(self._edge.port, forward=self._scene.service_port)

    def processes(self) -> Mapping[str, list[int]]:
        return {"edge": [self._edge.pid]}

    def stop(self) -> None:
        self._stack.close()
