"""Years in the life of a certificate, in minutes: outages, restarts, odd suggestions.

The scripted authority of the other tests and the real state on disk; only the clock is
made to run. For `make test-long`.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from pathlib import Path
import random
import time

import pytest

from hearthgate.home.certificates.pem import Leaf
from tests.support.certificate_parts import HOME, Clock, Home, settings_for
from tests.support.fake_ca import FakeCa, Refusal
from tests.support.port80 import Port80

pytestmark = pytest.mark.timeout(1800)

HOUR = 3600.0
DAY = 24 * HOUR
STEP = 6 * HOUR
PATIENCE_S = 60.0
# Of an authority (Let's Encrypt): certificates for one set of names in seven days.
SAME_SET_MAX, SAME_SET_S = 5, 7 * DAY
REFUSALS = (
    Refusal("rateLimited", "too many", 429, {"Retry-After": "86400"}),
    Refusal("serverInternal", "down for maintenance", 503),
    Refusal("malformed", "no", 400),
    Refusal(raw="<html>502</html>", status=502),
)


class Years:
    """A home and an authority whose clock is moved by hand."""

    def __init__(self, ca: FakeCa, folder: Path, rng: random.Random) -> None:
        self.ca = ca
        self.rng = rng
        self.issued: list[float] = []
        self._folder = folder
        self._clock = Clock()
        self.start()

    @property
    def now(self) -> float:
        return self._clock.now

    def start(self) -> None:
        """Start anew from what is on disk."""
        settings = settings_for(self.ca)
        self._home = Home(self._folder, settings, Port80(), self._clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew, as a home does from its start to its end."""
        self._home.certificates.keep([HOME])
        task = asyncio.create_task(self._home.certificates.run(), name="renewals")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def pass_by(self, seconds: float) -> None:
        """Let time go by, and wait until all that became due was done."""
        self._clock.now += seconds
        self.ca.now = self._clock.now
        leaf = self.leaf()
        if leaf is not None and self.ca.suggests:
            self.ca.window = _window(leaf, self.rng)
        self._home.certificates.keep([HOME])
        certificates = self._home.certificates
        end = time.monotonic() + PATIENCE_S
        while (
            certificates._next_at(HOME) <= self.now
            or certificates._renewer._busy
            or certificates._lock(HOME).locked()
        ):
            assert time.monotonic() < end, "what is due is never done"
            await asyncio.sleep(0.001)
        while not self._home.renewed.empty():
            self._home.renewed.get_nowait()
            self.issued.append(self.now)

    def leaf(self) -> Leaf | None:
        """Return what a visitor would be shown; None: nothing that is valid."""
        stored = self._home.certificates._store.get(HOME)
        return None if stored is None else stored.leaf


def _window(leaf: Leaf, rng: random.Random) -> tuple[float, float]:
    """Return what an authority suggests: usually around two thirds, or at once."""
    life = leaf.not_after - leaf.not_before
    if rng.random() < 0.002:  # it is about to revoke
        return leaf.not_before - DAY, leaf.not_before
    start = leaf.not_before + life * 0.64
    return start, start + life * 0.04


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("life_days", "years"), [(90.0, 4), (64.0, 4), (45.0, 3), (160 / 24, 1)]
)
async def test_a_hostname_has_a_valid_certificate_for_years_and_few_orders(
    tmp_path: Path, life_days: float, years: int, seed: int
) -> None:
    rng = random.Random(seed)
    ca = FakeCa(tmp_path)
    ca.life_s = life_days * DAY
    async with ca.serve():
        home = Years(ca, tmp_path / "state", rng)
        trouble_until = 0.0
        end = home.now + years * 365 * DAY
        while home.now < end:
            async with home.running():
                for _ in range(rng.randrange(40, 400)):  # until the next restart
                    ca.suggests = rng.random() < 0.9
                    if home.now > trouble_until:
                        ca.refuse_always.clear()
                        if rng.random() < 0.02 and home.issued:
                            longest = min(5 * DAY, ca.life_s / 8)
                            trouble_until = home.now + rng.uniform(0, longest)
                            path = rng.choice(["/order", "/finalize", "/directory"])
                            ca.refuse_always[path] = rng.choice(REFUSALS)
                    await home.pass_by(rng.uniform(0.5, 1.0) * STEP)
                    assert home.leaf() is not None, f"day {(home.now - end) / DAY}"
            home.start()
    _assert_within_limits(home.issued)
    # Never more often than every third of a life, outages and suggestions included.
    assert len(home.issued) < years * 365 / (life_days / 3) + 5


def _assert_within_limits(issued: list[float]) -> None:
    for index, first in enumerate(issued):
        within = [at for at in issued[index:] if at - first < SAME_SET_S]
        assert len(within) <= SAME_SET_MAX
