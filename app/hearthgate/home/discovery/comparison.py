"""See whether a service answers the home network otherwise than it answers a visitor.

    GET /                                 ─▶ shape ┐
    GET /  X-Forwarded-For: a stranger's  ─▶ shape ├─▶ differs, if the plain ones agree
    GET /                                 ─▶ shape ┘

The edge says the visitor's address in this header, so a difference means two things:
the service treats addresses differently, and it believes the header from us. No
difference means nothing: most services do not believe it, and those that trust the home
network then trust every visitor. Bodies are not compared, since tokens and clocks are
in them; only the status, where a redirect leads, and whether a password is asked for.
Not for Home Assistant, which logs an error each time: home/hass looks at it in its way.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
import re
import time
from urllib.parse import urlsplit

from hearthgate.home.discovery.fetch import Fault, Fetcher
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.model import Target

_STRANGER = {"X-Forwarded-For": "203.0.113.1"}  # RFC 5737: no visitor can have it
_KEPT_S = 3600.0  # three requests of ours in an hour are nothing to a service
_KEPT_MAX = 1_000
_PASSWORD = re.compile(rb"<input[^<>]{0,500}type=[\"']?password", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of an answer is the same each time, if the service treats us alike."""

    status: int
    path: str
    asks_password: bool


class Comparison:
    """What was found out about services lately. Lives in one loop."""

    def __init__(
        self, limits: DiscoveryLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._kept: OrderedDict[Target, tuple[float, bool]] = OrderedDict()

    async def differs(self, target: Target) -> bool:
        """Tell whether a stranger gets another answer; False if nobody can tell."""
        now = self._clock()
        at, found = self._kept.get(target, (now - _KEPT_S, False))
        if now - at < _KEPT_S:
            return found
        found = await self._compare(target.url)
        self._kept[target] = (now, found)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return found

    async def _compare(self, url: str) -> bool:
        before = await self._shape(url, {})
        if before is None:
            return False
        strange = await self._shape(url, _STRANGER)
        if strange is None or strange == before or strange.status == 400:  # noqa: PLR2004
            return False  # 400 is a complaint about the header, not about the address
        return await self._shape(url, {}) == before

    async def _shape(self, url: str, headers: dict[str, str]) -> _Shape | None:
        fetcher = Fetcher(self._limits, headers)  # with cookies of its own
        answer = await fetcher.get(url, max_bytes=self._limits.body_max_bytes)
        if isinstance(answer, Fault) or not answer.whole:
            return None
        asks = await asyncio.to_thread(_PASSWORD.search, answer.body) is not None
        return _Shape(answer.status, urlsplit(answer.url).path, asks)
