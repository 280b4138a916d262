"""Watch the network for announcements.

    AsyncServiceBrowser ─name, change─▶ waiting names ─▶ records ─▶ Announcement ─▶ seen
            ▲                                 └──────▶ gone            (type, instance)
            └── started anew when the addresses of this machine change

Records that came along with the announcement are used at once; only names without them
are asked for, a few at a time and with a deadline, so that a flood of empty names can't
hold up the others. A name is a key here, and never shown. Sends mDNS queries, nothing
else: we register nothing, so other programs keep their names.
"""

import asyncio
from collections.abc import Callable, Sequence
import logging
import re

from zeroconf import (
    DNSQuestionType,
    IPVersion,
    NamePartTooLongException,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

from hearthgate.home.discovery.addresses import (
    Interface,
    read_interfaces,
    usable_interfaces,
)
from hearthgate.home.discovery.catalog import CATALOG
from hearthgate.home.discovery.limits import DiscoverySettings
from hearthgate.home.discovery.records import Key, question, read_records
from hearthgate.home.discovery.sighting import Announcement
from hearthgate.shared.process.periodic import OncePer

__all__ = ["Key", "Watcher"]

_LOGGER = logging.getLogger(__name__)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # never in a name: RFC 6763 §4.1.1
_DOMAIN = ".local."
# RFC 6762 §5.2: the first two questions are a second apart.
_ASK_AGAIN_S = 1.0
_LOOK_EVERY_S = 0.1


class Watcher:
    """Report announcements and their end. Lives in one loop.

    `seen` is called for each new or changed announcement with the interfaces of that
    moment, `gone` after a goodbye or when the records expired, `renewed` when the
    network changed, so that what is known must be seen again.
    """

    def __init__(
        self,
        settings: DiscoverySettings,
        *,
        seen: Callable[[Key, Announcement, Sequence[Interface]], None],
        gone: Callable[[Key], None],
        renewed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Keep the callbacks; `run` does the rest."""
        self._settings = settings
        self._limits = settings.limits
        self._seen = seen
        self._gone = gone
        self._renewed = renewed
        self._present: list[Interface] = []
        self._waiting: dict[tuple[str, str], None] = {}  # ordered; full names
        self._missing: dict[tuple[str, str], None] = {}  # without their records
        self._arrived = asyncio.Event()
        self._to_ask = asyncio.Event()
        self._again = False  # some name found no room
        self._warn = OncePer(self._limits.warn_every_s, clock)

    async def run(self) -> None:
        """Watch until cancelled. Survives networks that come, go and change."""
        while True:
            self._present = read_interfaces()
            chosen = usable_interfaces(self._present, self._settings.interfaces)
            if chosen:
                await self._watch(chosen)
            elif self._warn.due("interfaces"):
                _LOGGER.warning("no network to search for services on; trying again")
            await asyncio.sleep(self._limits.interfaces_every_s if not chosen else 0)

    def try_again(self) -> None:
        """Look once more, soon, at names that found no room."""
        self._again = True

    async def _watch(self, addresses: tuple[str, ...]) -> None:
        """Watch on these addresses until they are no longer the machine's."""
        try:
            zeroconf = AsyncZeroconf(list(addresses), ip_version=IPVersion.V4Only)
        except OSError as err:  # an address went away in between, or port 5353 is taken
            if self._warn.due("open"):
                _LOGGER.warning("can't search on %s: %s", ", ".join(addresses), err)
            await asyncio.sleep(self._limits.interfaces_every_s)
            return
        _LOGGER.info("searching for services on %s", ", ".join(addresses))
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(zeroconf), name="mdns records")
                asker = tasks.create_task(self._ask_all(zeroconf), name="mdns asker")
                await self._browse_while_unchanged(zeroconf, addresses)
                reader.cancel()
                asker.cancel()
            self._renewed()
        finally:
            self._waiting.clear()
            self._missing.clear()
            await zeroconf.async_close()

    async def _browse_while_unchanged(
        self, zeroconf: AsyncZeroconf, addresses: tuple[str, ...]
    ) -> None:
        while self._same(addresses):
            browser = AsyncServiceBrowser(
                zeroconf.zeroconf,
                [f"{each}{_DOMAIN}" for each in CATALOG],
                handlers=[self._changed],
                # Not QU: a unicast answer reaches only one of the programs that share
                # port 5353 on this machine, and it need not be us.
                question_type=DNSQuestionType.QM,
            )
            try:
                await self._until_changed_or_room(addresses)
            finally:
                await browser.async_cancel()

    async def _until_changed_or_room(self, addresses: tuple[str, ...]) -> None:
        """Return if the addresses changed, or if it is time for those without room."""
        loop = asyncio.get_running_loop()
        again_at = loop.time() + self._limits.again_every_s
        while self._same(addresses):
            if self._again and loop.time() >= again_at:
                self._again = False
                return
            await asyncio.sleep(self._limits.interfaces_every_s)

    def _same(self, addresses: tuple[str, ...]) -> bool:
        self._present = read_interfaces()
        now = usable_interfaces(self._present, self._settings.interfaces)
        return now == addresses

    def _changed(
        self,
        zeroconf: Zeroconf,  # noqa: ARG002 - zeroconf passes all by keyword
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """Take what the browser noticed; called in the loop, must be quick."""
        full = (service_type, name)
        if state_change is ServiceStateChange.Removed:
            self._waiting.pop(full, None)
            self._missing.pop(full, None)
            self._gone(_key(full))
        elif full in self._waiting:
            pass
        elif len(self._waiting) + len(self._missing) >= self._limits.pending:
            self._again = True
            if self._warn.due("pending"):
                _LOGGER.warning("too many announcements at once; some have to wait")
        else:
            self._waiting[full] = None
            self._arrived.set()

    async def _read(self, zeroconf: AsyncZeroconf) -> None:
        """Read waiting names from the records at hand, in turn, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                full = next(iter(self._waiting))
                del self._waiting[full]
                if not self._take(zeroconf, full):
                    self._missing[full] = None
                    self._to_ask.set()
                await asyncio.sleep(1 / self._limits.read_per_s)

    async def _ask_all(self, zeroconf: AsyncZeroconf) -> None:
        """Ask for what is missing, a few names at a time, until cancelled."""
        slots = asyncio.Semaphore(self._limits.resolving)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._to_ask.wait()
                self._to_ask.clear()
                while self._missing:
                    await slots.acquire()
                    if not self._missing:  # a goodbye came in between
                        slots.release()
                        break
                    full = next(iter(self._missing))
                    del self._missing[full]
                    question = self._ask(zeroconf, full, slots)
                    tasks.create_task(question, name="mdns question")

    def _take(self, zeroconf: AsyncZeroconf, full: tuple[str, str]) -> bool:
        """Report an instance from the records at hand; False if some are missing."""
        key = _key(full)
        if _CONTROL.search(key[1]):
            return True  # no name, so there is nothing to ask for
        announcement = read_records(zeroconf.zeroconf.cache, full[1], key, self._limits)
        if announcement is None:
            return False
        try:
            self._seen(key, announcement, self._present)
        except Exception:
            # A bug that one odd announcement brings to light must not end discovery.
            _LOGGER.exception("an announcement of %r failed", key[1][:100])
        return True

    async def _ask(
        self, zeroconf: AsyncZeroconf, full: tuple[str, str], slots: asyncio.Semaphore
    ) -> None:
        """Ask for the missing records; silence is not worth a word."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.resolve_deadline_s):
                ask_at = loop.time()
                while not self._take(zeroconf, full):
                    if loop.time() >= ask_at:
                        zeroconf.zeroconf.async_send(
                            question(zeroconf.zeroconf.cache, full[1])
                        )
                        ask_at = loop.time() + _ASK_AGAIN_S
                    # Looked at now and then, not at each record: how many come is up
                    # to whoever sends them.
                    await asyncio.sleep(_LOOK_EVERY_S)
        except (TimeoutError, NamePartTooLongException) as err:
            _LOGGER.debug("an announcement without records: %r: %r", full[1][:100], err)
        finally:
            slots.release()


def _key(full: tuple[str, str]) -> Key:
    service_type, name = full
    instance = name.removesuffix(service_type).removesuffix(".")
    if len(instance) == len(name):  # the case of the type differs
        instance = name[: -len(service_type) - 1]
    return service_type.removesuffix(_DOMAIN), instance
