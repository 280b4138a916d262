"""ACME HTTP-01 answers that homes have pushed, for a short while (RFC 8555 §8.3).

    home ──control connection──▶ put ──▶ port 80 asks get ──▶ the CA

They come only over the control connection, never over a clear channel: somebody on the
path between home and relay must not be able to prove ownership of a hostname.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hearthgate.relay.limits import Limits


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer, and who pushed it."""

    home_id: str
    key_authorization: str
    expires: float


class Answers:
    """Answers by hostname and token. Lives in one loop."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._answers: dict[tuple[str, str], Shown] = {}

    def put(
        self, home_id: str, hostname: str, token: str, key_authorization: str
    ) -> bool:
        """Show an answer; False if the home shows as many as it may.

        Whether the home owns the hostname is for the caller to check.
        """
        self._forget_expired()
        held = sum(one.home_id == home_id for one in self._answers.values())
        is_new = (hostname, token) not in self._answers
        if is_new and held >= self._limits.answers_per_home_max:
            return False
        expires = self._clock() + self._limits.answer_lifetime_s
        self._answers[hostname, token] = Shown(home_id, key_authorization, expires)
        return True

    def drop(self, home_id: str, hostname: str, token: str) -> None:
        """Show an answer no longer; nothing happens if it is another home's."""
        found = self._answers.get((hostname, token))
        if found is not None and found.home_id == home_id:
            del self._answers[hostname, token]

    def drop_all(self, home_id: str) -> None:
        """Show none of a home's answers any more."""
        kept = {k: one for k, one in self._answers.items() if one.home_id != home_id}
        self._answers = kept

    def all(self) -> list[tuple[str, str, Shown]]:
        """Return hostname, token and answer of all that are shown."""
        self._forget_expired()
        return [(*key, one) for key, one in self._answers.items()]

    def get(self, hostname: str, token: str) -> str | None:
        """Return the key authorization to answer with."""
        found = self._answers.get((hostname, token))
        if found is None or found.expires <= self._clock():
            return None
        return found.key_authorization

    def _forget_expired(self) -> None:
        now = self._clock()
        self._answers = {
            k: one for k, one in self._answers.items() if one.expires > now
        }
