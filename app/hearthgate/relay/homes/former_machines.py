"""Which of several machines with the same keys is a home: after a backup was restored.

    hello {machine, claim} ─┬─ a new machine ──▶ is the home from now on
                            ├─ was it before ──▶ refused, until a person insists
                            └─ was replaced ───▶ refused while the other is there

A backup holds a home's keys, so two machines can come with them, and the older one may
publish what was switched off since. So the newest machine is the home, the others wait
for a person, and no two of them push each other out in turn. Machines are told apart by
what they say of themselves, so this keeps nobody out who means harm: for that, a home
is revoked.
"""

import logging

from hearthgate.errors import HearthgateError
from hearthgate.relay.homes.rate_limit import RateLimit
from hearthgate.relay.homes.registry import Home, Registry
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.wire.messages import Claim, Hello, Refused

_LOGGER = logging.getLogger(__name__)


class Machines:
    """Let the right one of a home's machines in."""

    def __init__(
        self, registry: Registry, sessions: Sessions, moves: RateLimit
    ) -> None:
        """Let a home, by its id, become another machine as often as `moves` allows."""
        self._moves = moves
        self._registry = registry
        self._sessions = sessions

    async def admit(self, home: Home, hello: Hello) -> Refused | None:
        """Return why a machine is not let in; None: it is, and is this home now."""
        if hello.machine in home.left and hello.claim is not Claim.INSISTS:
            return Refused(
                0, "home_moved", "This home has moved to another machine since then."
            )
        presence = self._sessions.presences.get(home.id)
        is_there = presence is not None and presence.session is not None
        if hello.claim is Claim.YIELDS and is_there:
            return Refused(
                0,
                "home_in_use",
                "Another Hearthgate is connected to this relay as this home.",
            )
        if hello.machine and hello.machine != home.machine:
            if not self._moves.allow(home.id):
                return Refused(
                    0,
                    "home_moves_too_often",
                    "This home has moved to another machine too often. This relay lets "
                    "it again within the hour.",
                )
            await self._move(home, hello.machine)
        return None

    async def _move(self, home: Home, machine: str) -> None:
        try:
            await self._registry.move(home.id, machine)
        except HearthgateError as err:  # a full disk must not keep a home out
            _LOGGER.warning("%s: its machine is not noted: %s", home.name, err)
            return
        if home.machine:
            _LOGGER.warning(
                "%s: Another machine is this home now, as after restoring a backup. "
                "The one before may not come back unless somebody there insists",
                home.name,
            )
