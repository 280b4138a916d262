"""Count connections by where they come from, so that one address cannot take all.

An IPv6 /64 is one household and counts as one address (RFC 6177 §2).
"""

from collections.abc import Callable
import ipaddress

_PREFIX_BYTES = 8


class ConnectionLimiter:
    """Connections by address, and in total. Lives in one loop."""

    def __init__(
        self,
        *,
        total_max: int,
        per_address_max: int,
        has_room: Callable[[], bool] | None = None,
    ) -> None:
        """has_room: asked for each connection that the numbers allow."""
        self.total = 0
        self._has_room = has_room
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._counts: dict[str, int] = {}

    def enter(self, address: str) -> str:
        """Count one more connection; or say why not, and count nothing."""
        if self.total >= self._total_max:
            return "more connections than allowed in total"
        key = address_key(address) if ":" in address else address
        count = self._counts.get(key, 0)
        if count >= self._per_address_max:
            return "more connections than allowed from one address"
        if self._has_room is not None and not self._has_room():
            return "more open files than the system allows"
        self._counts[key] = count + 1
        self.total += 1
        return ""

    def leave(self, address: str) -> None:
        """Count one connection less, as often as `enter` allowed one."""
        key = address_key(address) if ":" in address else address
        self.total -= 1
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]


def address_key(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    packed = ipaddress.IPv6Address(address.partition("%")[0]).packed
    return packed[:_PREFIX_BYTES].hex()
