"""Bound what goes to visitors of UDP forwards whose address may be forged.

    heard from an address ──x 3──▶ earned ┐
    a base per address, refilled in time ─┼─▶ what may go back to all its ports
    a base per home, for all addresses  ──┘    (both bases have to hold it)

UDP has no handshake: whoever writes another's address on a small question has the
answer sent there. So the budget belongs to the address (an IPv6 /64 is one) and not to
the port that it names: a forger changes ports at no cost. An honest visitor that asks
from a new port each time (DNS resolvers do) cannot be told from one, which is why the
base is refilled. What the base grants is bounded for each home as well, because a
forger who floods a network has as many addresses as it likes.

Addresses that are remembered are bounded too. One that is forgotten begins anew, which
gains a forger nothing that the bound of its home does not hold.
"""

from collections import OrderedDict
from collections.abc import Callable

from hearthgate.relay.accept.connection_limiter import address_key
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.limits import Limits

_FACTOR = 3  # RFC 9000 §8.1: what an unproven address gets for what it sent

_OF_ADDRESS = "an answer to an unproven visitor"
_OF_HOME = "more answers to unproven visitors than allowed"
_FORGOTTEN = "an address with a budget that made room for another"


class Bucket:
    """Bytes that come back evenly: all of them within a window."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, most: int, now: float) -> None:
        self._tokens = float(most)
        self._at = now

    def level(self, most: int, window_s: float, now: float) -> float:
        """Return what is there now."""
        refilled = self._tokens + max(0.0, now - self._at) * most / window_s
        self._tokens, self._at = min(float(most), refilled), now
        return self._tokens

    def take(self, size: float) -> None:
        """Take some of what `level` returned."""
        self._tokens -= size


class ReplyBudget:
    """What one address may get. Shared by all its flows."""

    __slots__ = ("base", "earned", "heard")

    def __init__(self, base: int, now: float) -> None:
        self.base = Bucket(base, now)
        self.earned = 0  # bytes
        self.heard = now


class ReplyBudgets:
    """The budgets of all addresses and homes. Lives in one loop."""

    def __init__(
        self, limits: Limits, counters: Counters, *, clock: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._clock = clock
        # About in the order in which they were heard; `sweep` puts it right.
        self._of_address: OrderedDict[str, ReplyBudget] = OrderedDict()
        self._of_home: dict[str, Bucket] = {}

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._of_address)

    def of(self, address: str) -> ReplyBudget:
        """Return the budget of an address. The one quiet for longest makes room."""
        key, now = address_key(address), self._clock()
        found = self._of_address.get(key)
        if found is None:
            if len(self._of_address) >= self._limits.unproven_addresses_max:
                self._make_room(now)
            found = ReplyBudget(self._limits.unproven_reply_max, now)
            self._of_address[key] = found
        self._of_address.move_to_end(key)
        return found

    def _make_room(self, now: float) -> None:
        _, gone = self._of_address.popitem(last=False)
        if now - gone.heard < self._limits.unproven_reply_window_s:
            self._counters.refuse(_FORGOTTEN)

    def heard(self, budget: ReplyBudget, size: int) -> None:
        """Count what came from an address."""
        budget.earned += _FACTOR * size
        budget.heard = self._clock()

    def spend(self, budget: ReplyBudget, size: int, *, home_id: str, home: str) -> bool:
        """Take what an answer needs; or count a refusal, and take nothing."""
        beyond = size - budget.earned
        if beyond > 0 and not self._spend_base(budget, beyond, home_id, home):
            return False
        budget.earned = max(0, -beyond)
        return True

    def _spend_base(
        self, budget: ReplyBudget, size: int, home_id: str, home: str
    ) -> bool:
        limits, now = self._limits, self._clock()
        window_s = limits.unproven_reply_window_s
        most = limits.unproven_reply_max
        if budget.base.level(most, window_s, now) < size:
            self._counters.refuse(_OF_ADDRESS, home=home)
            return False
        most = limits.unproven_replies_per_home_max_bytes
        of_home = self._of_home.setdefault(home_id, Bucket(most, now))
        if of_home.level(most, window_s, now) < size:
            self._counters.refuse(_OF_HOME, home=home)
            return False
        budget.base.take(size)
        of_home.take(size)
        return True

    def sweep(self) -> None:
        """Forget whoever was quiet for so long that its base is whole again."""
        limits, now = self._limits, self._clock()
        quiet_since = now - limits.unproven_reply_window_s
        for _ in range(len(self._of_address)):
            key, budget = next(iter(self._of_address.items()))
            if budget.heard <= quiet_since:
                del self._of_address[key]
            else:
                self._of_address.move_to_end(key)
        most = limits.unproven_replies_per_home_max_bytes
        window_s = limits.unproven_reply_window_s
        for home_id, bucket in list(self._of_home.items()):
            if bucket.level(most, window_s, now) >= most:
                del self._of_home[home_id]
