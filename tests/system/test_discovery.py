"""Discovery against a real avahi-daemon, real pages and real interfaces.

Each test runs in a network of its own, so what else is announced on this machine, by
other tests as well, is neither found nor disturbed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
from dataclasses import dataclass, field
import logging
from pathlib import Path
import re

import pytest

from hearthgate.home.discovery import Discovery, DiscoveryLimits, DiscoverySettings
from hearthgate.home.discovery.text import service_id
from hearthgate.home.model import Scheme, Service
from tests.harness.mdns import Announced, Announcer, Avahi, in_own_network, ip
from tests.harness.webservice import WebService

PATIENCE_S = 60.0
# As in production, but for waits whose length no test is about.
QUICK = DiscoveryLimits(
    settle_s=0.5,
    linger_s=2.0,
    confirm_s=4.0,
    interfaces_every_s=0.3,
    again_every_s=1.0,
    probe_every_s=1.0,
    probe_failed_every_s=1.0,
    probe_soonest_s=0.3,
)
LOOPBACK = DiscoverySettings(interfaces=("127.0.0.1",), limits=QUICK)


@dataclass
class Page:
    """What somebody who watches the page would see."""

    icons: Path
    services: dict[str, Service] = field(default_factory=dict)
    history: list[Service] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_change(self, service: Service) -> None:
        self.services[service.id] = service
        self.history.append(service)
        self.changed.set()

    def on_lost(self, service_id_: str) -> None:
        del self.services[service_id_]
        self.lost.append(service_id_)
        self.changed.set()

    async def until(self, seen: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not seen():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pytest.fail(f"never seen; last: {list(self.services.values())}")

    async def probed(self, name: str) -> Service:
        """Return the service of this name once it was looked at."""

        def seen() -> bool:
            return any(
                each.name == name and each.reachable is not None
                for each in self.services.values()
            )

        await self.until(seen)
        return next(each for each in self.services.values() if each.name == name)


@contextlib.asynccontextmanager
async def discovering(
    folder: Path, settings: DiscoverySettings = LOOPBACK
) -> AsyncIterator[Page]:
    page = Page(folder / "icons")
    discovery = Discovery(
        settings, icons=page.icons, on_change=page.on_change, on_lost=page.on_lost
    )
    task = asyncio.create_task(discovery.run(), name="discovery")
    try:
        yield page
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def announce_until(
    page: Page, announcer: Announcer, what: list[Announced], seen: Callable[[], bool]
) -> None:
    """Announce again and again: an announcer answers no questions."""

    async def speak() -> None:
        while True:
            for each in what:
                announcer.announce(each)
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        speaker = tasks.create_task(speak(), name="speaker")
        await page.until(seen)
        speaker.cancel()


def test_a_service_is_found_with_its_title_and_icon(tmp_path: Path) -> None:
    async def main() -> None:
        with Avahi() as avahi, WebService("Sofa & co") as web:
            avahi.publish("Wohnzimmer Ü", "_http._tcp", web.port, {"path": "/x"})
            async with discovering(tmp_path) as page:
                service = await page.probed("Wohnzimmer Ü")
                assert service.id == service_id("Wohnzimmer Ü", "_http._tcp")
                assert (service.target.host, service.target.port) == (
                    *("127.0.0.1", web.port),
                )
                assert (service.title, service.reachable) == ("Sofa & co", True)
                assert service.problem is None
                assert service.icon is not None
                assert re.fullmatch(r"[0-9a-f]{32}\.svg", service.icon)
                assert b"<svg" in (page.icons / service.icon).read_bytes()

    in_own_network(main)


def test_a_goodbye_makes_it_lost_and_coming_back_finds_the_same_id(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        with Avahi() as avahi, WebService() as web:
            avahi.publish("Lamp", "_wled._tcp", web.port)
            async with discovering(tmp_path) as page:
                first = await page.probed("Lamp")
                avahi.withdraw("Lamp")
                await page.until(lambda: page.lost == [first.id])
                avahi.publish("Lamp", "_wled._tcp", web.port)
                assert (await page.probed("Lamp")).id == first.id

    in_own_network(main)


def test_another_port_keeps_the_id_and_is_never_lost(tmp_path: Path) -> None:
    async def main() -> None:
        with Avahi() as avahi, WebService("One") as one, WebService("Two") as two:
            avahi.publish("Box", "_http._tcp", one.port)
            async with discovering(tmp_path) as page:
                first = await page.probed("Box")
                avahi.publish("Box", "_http._tcp", two.port)
                await page.until(lambda: page.services[first.id].title == "Two")
                assert page.services[first.id].target.port == two.port
                assert page.lost == []
                assert list(page.services) == [first.id]

    in_own_network(main)


def test_two_types_of_one_address_are_one_service(tmp_path: Path) -> None:
    async def main() -> None:
        with Avahi() as avahi, WebService() as web:
            avahi.publish("http-name", "_http._tcp", web.port)
            avahi.publish("My home", "_home-assistant._tcp", web.port)
            avahi.publish("My home", "_ssh._tcp", 22)
            async with discovering(tmp_path) as page:
                service = await page.probed("My home")
                assert service.id == service_id("My home", "_home-assistant._tcp")
                assert service.kind == "home-assistant"
                assert list(page.services) == [service.id]

    in_own_network(main)


def test_self_signed_https_is_found_though_announced_as_http(tmp_path: Path) -> None:
    async def main() -> None:
        with Avahi() as avahi, WebService("Locked", tls=True) as web:
            avahi.publish("NAS", "_http._tcp", web.port)
            async with discovering(tmp_path) as page:
                service = await page.probed("NAS")
                assert service.target.scheme is Scheme.HTTPS
                assert (service.title, service.problem) == ("Locked", None)

    in_own_network(main)


def test_a_dead_service_says_so_and_recovers(tmp_path: Path) -> None:
    async def main() -> None:
        web = WebService("Back")
        with Avahi() as avahi, web:
            avahi.publish("Radio", "_http._tcp", web.port)
            async with discovering(tmp_path) as page:
                service = await page.probed("Radio")
                web.stop()
                await page.until(lambda: bool(page.services[service.id].problem))
                dead = page.services[service.id]
                assert dead.reachable is False
                assert dead.problem == f"Nothing answers at 127.0.0.1:{web.port}."
                assert (dead.title, dead.icon) == ("Back", service.icon)
                web.start()
                await page.until(lambda: bool(page.services[service.id].reachable))
                assert page.services[service.id].problem is None

    in_own_network(main)


def test_what_only_may_have_a_page_is_shown_when_it_has_one(tmp_path: Path) -> None:
    async def main() -> None:
        with Avahi() as avahi, WebService("Printer", port=80):
            avahi.publish("Nothing there", "_sonos._tcp", 1400)
            avahi.publish("LaserThing", "_ipp._tcp", 631)
            async with discovering(tmp_path) as page:
                service = await page.probed("LaserThing")
                assert (service.kind, service.target.port) == ("printer", 80)
                assert list(page.services) == [service.id]

    in_own_network(main)


def test_a_network_that_comes_later_changes_and_goes(tmp_path: Path) -> None:
    async def main() -> None:
        settings = DiscoverySettings(limits=QUICK)
        async with discovering(tmp_path, settings) as page:
            ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
            ip("link", "set", "lan1", "up")
            ip("link", "set", "lan0", "up")
            ip("address", "add", "192.0.2.50/24", "dev", "lan0")
            lamp = Announced("Lamp", "_http._tcp", 8080, ("192.0.2.50",))
            await announced_until_seen(page, lamp, "192.0.2.50")
            ip("address", "del", "192.0.2.50/24", "dev", "lan0")
            ip("address", "add", "198.51.100.7/24", "dev", "lan0")
            moved = Announced("Lamp", "_http._tcp", 8080, ("198.51.100.7",))
            await announced_until_seen(page, moved, "198.51.100.7")
            assert {each.id for each in page.history} == {
                service_id("Lamp", "_http._tcp")
            }
            ip("link", "set", "lan0", "down")
            ip("address", "flush", "dev", "lan0")
            await page.until(lambda: not page.services)

    async def announced_until_seen(page: Page, what: Announced, host: str) -> None:
        def seen() -> bool:
            return host in [each.target.host for each in page.services.values()]

        with Announcer(host) as announcer:
            await announce_until(page, announcer, [what], seen)

    in_own_network(main)


def test_a_thousand_services_fill_the_table_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with WebService("Honest") as web, Announcer() as announcer:
            async with discovering(tmp_path) as page:
                honest = Announced("Honest", "_http._tcp", web.port, server="h.local.")
                await announce_until(
                    page, announcer, [honest], lambda: bool(page.services)
                )
                for number in range(1000):
                    await asyncio.sleep(0.001)  # or the socket's buffer drops them
                    announcer.announce(flood(number))
                await page.until(lambda: len(page.services) == QUICK.instances)
                announcer.say_goodbye(honest)
                gone = service_id("Honest", "_http._tcp")
                await page.until(lambda: gone in page.lost)
                assert len({each.id for each in page.history}) <= 2 * QUICK.instances

    caplog.set_level(logging.WARNING)
    in_own_network(main)
    said = [each.getMessage() for each in caplog.records]
    assert sum("more services are announced" in each for each in said) == 1
    assert not [each for each in caplog.records if each.exc_info]


def flood(number: int) -> Announced:
    """Return one of many, ten per address; nothing listens there."""
    address = f"127.1.{number // 250}.{number // 10 % 25 + 1}"
    return Announced(
        f"Flood {number}",
        "_http._tcp",
        1 + number % 10,
        (address,),
        server=f"flood-{number // 10}.local.",
    )


def test_hostile_announcements_are_cleaned_or_ignored(tmp_path: Path) -> None:
    tricks = "\u202eevil\u009b2J\u200b\u2066name"
    hostile = [
        Announced("x" * 63, "_http._tcp", 2),
        Announced(tricks, "_http._tcp", 3, txt=b"\xff" * 255 + b"\x10path=/"),
        Announced("esc\x1b[2J", "_http._tcp", 11),  # no name by RFC 6763 §4.1.1
        Announced("fat", "_http._tcp", 4, txt=(b"\xffk=" + b"v" * 253) * 30),
        Announced("public", "_http._tcp", 5, ("93.184.215.14",), server="a.local."),
        Announced("group", "_http._tcp", 6, ("224.0.0.251",), server="b.local."),
        Announced("near", "_http._tcp", 7, ("169.254.1.1",), server="c.local."),
        Announced("paper", "_http._tcp", 9100),
        Announced("no port", "_http._tcp", 0),
        Announced("hollow", "_http._tcp", 8, records=False),
        Announced("dots.in.the.name", "_http._tcp", 10),
    ]

    async def main() -> None:
        with Announcer() as announcer, WebService("Honest") as web:
            async with discovering(tmp_path) as page:
                hostile.append(Announced("Honest", "_http._tcp", web.port))
                await announce_until(
                    page, announcer, hostile, lambda: len(page.services) >= 5
                )
                await page.probed("Honest")
                names = {each.name for each in page.services.values()}
                assert names == {
                    *("x" * 63, "evil2Jname", "fat", "dots.in.the.name", "Honest"),
                }

    in_own_network(main)


def test_loopback_is_not_believed_on_a_real_network(tmp_path: Path) -> None:
    async def main() -> None:
        ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        ip("address", "add", "192.0.2.50/24", "dev", "lan0")
        ip("link", "set", "lan1", "up")
        ip("link", "set", "lan0", "up")
        inside = Announced("inside", "_http._tcp", 80, server="in.local.")
        outside = Announced("outside", "_http._tcp", 80, ("192.0.2.50",))
        settings = DiscoverySettings(limits=QUICK)
        with Announcer("192.0.2.50") as announcer:
            async with discovering(tmp_path, settings) as page:
                await announce_until(
                    page, announcer, [inside, outside], lambda: bool(page.services)
                )
                await page.probed("outside")
                assert len(page.services) == 1

    in_own_network(main)
