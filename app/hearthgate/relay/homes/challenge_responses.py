"""ACME HTTP-01 answers that homes have pushed, for a short while (RFC 8555 §8.3).

    home ──control connection──▶ put ──▶ port 80 asks get ──▶ the CA

They come only over the control connection, never over a clear channel: somebody on the
path between home and relay must not be able to prove ownership of a hostname. An answer
is shown as long as its home's grant covers the hostname, and no longer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hearthgate.relay.limits import Limits

Key = tuple[str, str]  # hostname and token


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer, and who pushed it."""

    home_id: str
    key_authorization: str
    expires: float  # by a clock that nobody sets


class Answers:
    """Answers by hostname and token. Lives in one loop."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._answers: dict[Key, Shown] = {}  # about in the order in which they expire
        self._of_home: dict[str, dict[Key, None]] = {}

    def put(
        self,
        home_id: str,
        hostname: str,
        token: str,
        key_authorization: str,
        *,
        expires: float | None = None,
    ) -> bool:
        """Show an answer; False if the home shows as many as it may.

        Whether the home owns the hostname is for the caller to check. expires: when
        another process has been shown it; never later than one that comes now.
        """
        self._forget_expired()
        key = (hostname, token)
        held = self._of_home.get(home_id, {})
        if key not in held and len(held) >= self._limits.answers_per_home_max:
            return False
        self._forget(key)
        latest = self._clock() + self._limits.answer_lifetime_s
        ends = latest if expires is None else min(expires, latest)
        self._answers[key] = Shown(home_id, key_authorization, ends)
        self._of_home.setdefault(home_id, {})[key] = None
        return True

    def drop(self, home_id: str, hostname: str, token: str) -> None:
        """Show an answer no longer; nothing happens if it is another home's."""
        key = (hostname, token)
        if key in self._of_home.get(home_id, {}):
            self._forget(key)

    def drop_all(self, home_id: str) -> None:
        """Show none of a home's answers any more."""
        self.keep(home_id, lambda _hostname: False)

    def keep(self, home_id: str, covers: Callable[[str], bool]) -> None:
        """Show only those of a home's answers any more whose hostname is covered."""
        for key in list(self._of_home.get(home_id, {})):
            if not covers(key[0]):
                self._forget(key)

    def all(self) -> list[tuple[str, str, Shown]]:
        """Return hostname, token and answer of all that are shown."""
        now = self._clock()
        return [(*key, one) for key, one in self._answers.items() if one.expires > now]

    def get(self, hostname: str, token: str) -> str | None:
        """Return the key authorization to answer with."""
        found = self._answers.get((hostname, token))
        if found is None or found.expires <= self._clock():
            return None
        return found.key_authorization

    def _forget(self, key: Key) -> None:
        found = self._answers.pop(key, None)
        if found is None:
            return
        held = self._of_home[found.home_id]
        del held[key]
        if not held:
            del self._of_home[found.home_id]

    def _forget_expired(self) -> None:
        """Forget the oldest that have expired: as many as there are, and one look."""
        now = self._clock()
        while self._answers:
            key, oldest = next(iter(self._answers.items()))
            if oldest.expires > now:
                return
            self._forget(key)
