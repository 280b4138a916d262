"""Find the addresses of services, which are names in the home's own network.

    find("nas.local") ──known for a minute──▶ address
                      └─ looked up beside everything else ─▶ then(address)

Knows no ports.
"""

import asyncio
from collections.abc import Callable
import logging
import socket

from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.names import is_ip

_LOGGER = logging.getLogger(__name__)
_KNOWN_S = 60.0

Then = Callable[[str | None], None]


class Lookup:
    """Addresses by name. Lives in one loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}
        self._asking: dict[str, list[Then]] = {}
        self._tasks = Tasks()

    def find(self, host: str, then: Then | None = None) -> str | None:
        """Return an IP address, or None while it is looked up.

        then is called with the outcome of a lookup that has begun or goes on; with None
        if there is no such name.
        """
        if is_ip(host):
            return host
        at, address = self._known.get(host, (float("-inf"), None))
        if address is not None and self._clock() - at < _KNOWN_S:
            return address
        if host not in self._asking:
            self._asking[host] = []
            self._tasks.start(self._ask(host), f"look up {host}")
        if then is not None:
            self._asking[host].append(then)
        return None

    async def _ask(self, host: str) -> None:
        address = None
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found.sort(key=lambda one: one[0] is not socket.AF_INET)
            address = str(found[0][4][0])
            self._known[host] = (self._clock(), address)
        except OSError as err:
            _LOGGER.warning("%s cannot be found: %s", host, err)
        finally:
            for then in self._asking.pop(host):
                then(address)

    async def close(self) -> None:
        """Look nothing up any more."""
        await self._tasks.close()
