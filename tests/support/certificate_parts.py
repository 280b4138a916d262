"""A home's certificates with everything around them replaced by test parts."""

import asyncio
from collections.abc import Collection
from pathlib import Path
import random
import time

from hearthgate.home.certificates import (
    AcmeLimits,
    AcmeSettings,
    Certificate,
    Certificates,
    Step,
)
from tests.support.fake_ca import FakeCa
from tests.support.port80 import Port80

HOME = "home.example.com"


class Clock:
    """A wall clock that only moves when told."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now


class Home:
    """Certificates, and what they told."""

    def __init__(
        self, folder: Path, settings: AcmeSettings, relay: Port80, clock: Clock
    ) -> None:
        self.relay = relay
        self.clock = clock
        self.steps: list[Step] = []
        self.renewed: asyncio.Queue[Certificate] = asyncio.Queue()
        self.certificates = Certificates(
            folder,
            settings,
            answers_for=lambda _hostname: relay,
            on_renewed=self.renewed.put,
            clock=clock,
            rng=random.Random(7),
        )

    async def ensure(
        self, hostname: str = HOME, addresses: Collection[str] = ()
    ) -> Certificate:
        return await self.certificates.ensure(
            hostname, self.steps.append, addresses=addresses
        )


def settings_for(ca: FakeCa, limits: AcmeLimits | None = None) -> AcmeSettings:
    """Return settings for the fake authority; its DNS answers nothing, which is fine.

    Port 9 of loopback refuses: an unreachable resolver never stops an order.
    """
    return AcmeSettings(
        directory=ca.directory,
        ca_file=ca.ca_file,
        dns_servers=(("127.0.0.1", 9),),
        limits=limits or AcmeLimits(dns_s=0.1),
    )
