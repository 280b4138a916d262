"""Count wrong passwords, by policy and address and by address alone.

    begin ─▶ Attempt ─▶ end(wrong=…)       begin ─▶ None: no more guesses for now

An attempt counts from the moment it begins, so that a hundred at once get no hundred
guesses. Attempts with one and the same password that are under way together are one
guess: that is a program that opens many connections. What was right does not make up
for what was wrong before, or whoever shares an address with somebody who signs in could
guess without end. Memory is bounded: what was not touched for longest is forgotten.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hearthgate.shared.net.subscribers import subscriber

# About 1 KB each. Whoever has more addresses than this is bounded by the number of
# passwords that are checked in a second (checks.py).
_RECORDS_MAX: Final = 8192

_Key = tuple[str, str | None]  # a subscriber and a policy, or None for all of them


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """How many wrong passwords are too many."""

    period_s: float
    per_policy_max: int  # from one address
    per_address_max: int  # for all policies together


@dataclass(slots=True)
class _Record:
    wrong: deque[float]  # when
    pending: Counter[str] = field(default_factory=Counter)  # by password

    def is_full(self, guesses_max: int, password: str, since: float) -> bool:
        while self.wrong and self.wrong[0] <= since:
            self.wrong.popleft()
        if password in self.pending:
            return False
        return len(self.wrong) + len(self.pending) >= guesses_max


class Attempt:
    """A password that is being checked. `end` it once."""

    def __init__(
        self, records: tuple[_Record, ...], password: str, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._password = password
        self._clock = clock
        for record in records:
            record.pending[password] += 1

    def end(self, *, wrong: bool) -> None:
        """Say how it ended. Not wrong is right, or never looked at."""
        for record in self._records:
            record.pending[self._password] -= 1
            if not record.pending[self._password]:
                del record.pending[self._password]
            if wrong:
                record.wrong.append(self._clock())


class Guesses:
    """The wrong passwords of all addresses. Lives in one loop."""

    def __init__(self, limits: GuessLimits, *, clock: Callable[[], float]) -> None:
        """Use a monotonic clock, so that setting the time helps nobody."""
        self._limits = limits
        self._clock = clock
        self._records: OrderedDict[_Key, _Record] = OrderedDict()

    def begin(self, address: str, policy: str, password: str) -> Attempt | None:
        """Count an attempt. None: this address has to wait."""
        who = subscriber(address)
        since = self._clock() - self._limits.period_s
        wanted = (
            ((who, policy), self._limits.per_policy_max),
            ((who, None), self._limits.per_address_max),
        )
        records = tuple(self._record(key, most) for key, most in wanted)
        if any(
            record.is_full(most, password, since)
            for record, (_, most) in zip(records, wanted, strict=True)
        ):
            return None
        return Attempt(records, password, self._clock)

    def _record(self, key: _Key, guesses_max: int) -> _Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(deque(maxlen=guesses_max))
            if len(self._records) > _RECORDS_MAX:
                self._records.popitem(last=False)
        self._records.move_to_end(key)
        return record
