"""Keep open pages up to date over one WebSocket each.

    page ──GET api/live──▶ subscribe ──▶ state ──▶ event ──▶ event ──▶ …
                                          ▲           │ it did not keep up
                                          └───────────┘

Subscribing comes before the first state, so no change falls between the two. A page is
never waited for: see Feed. Pages say nothing here; what they want goes over REST.
"""

import asyncio
import json
import logging

from aiohttp import WSCloseCode, web

from hearthgate.errors import HearthgateError
from hearthgate.home.web.api.facade import HomeApi
from hearthgate.home.web.errors import TooManyPagesError
from hearthgate.home.web.live.feed import RESYNC, Event, Subscription, offer
from hearthgate.home.web.login.users import Authenticator

_LOGGER = logging.getLogger(__name__)

# Ten people with a few devices each. A sleeping page costs at most its queue and two
# socket buffers, about 0.5 MB.
PAGES_MAX = 48
# Below the minute after which proxies and routers forget a silent connection.
HEARTBEAT_SECONDS = 25.0
# A page that takes nothing for so long is asleep; it reads everything when it wakes.
_SEND_SECONDS = 30.0
# How soon a page without events notices that its login has ended.
_CHECK_SECONDS = 30.0
_MESSAGE_MAX_BYTES = 4096


class LivePages:
    """Serve the open pages. Lives in one loop; end it with close()."""

    def __init__(
        self,
        home: HomeApi,
        *,
        pages_max: int = PAGES_MAX,
        send_seconds: float = _SEND_SECONDS,
        check_seconds: float = _CHECK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Tell pages about this home."""
        self._home = home
        self._pages_max = pages_max
        self._send_seconds = send_seconds
        self._check_seconds = check_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._pages: set[web.WebSocketResponse] = set()
        self._events: set[Subscription] = set()  # of the pages
        self._look: asyncio.TimerHandle | None = None

    async def serve(
        self, request: web.Request, authenticator: Authenticator
    ) -> web.WebSocketResponse:
        """Serve one page until it goes, falls asleep or is logged out."""
        if len(self._pages) >= self._pages_max:
            raise TooManyPagesError(limit=self._pages_max)
        page = web.WebSocketResponse(
            heartbeat=self._heartbeat_seconds,
            max_msg_size=_MESSAGE_MAX_BYTES,
            compress=False,  # 64 KB a page for what is mostly a few short lines
        )
        self._pages.add(page)
        try:
            await page.prepare(request)
            await self._talk(page, request, authenticator)
        finally:
            self._pages.discard(page)
        return page

    def look_again(self, after_seconds: float = 0.0) -> None:
        """Close the pages whose session has ended, not only at their next event."""
        if self._look is not None:
            self._look.cancel()
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(after_seconds, self._wake)

    def _wake(self) -> None:
        for events in self._events:
            offer(events, {"type": RESYNC})

    async def close(self) -> None:
        """Tell all pages to come back later."""
        if self._look is not None:
            self._look.cancel()
        await asyncio.gather(
            *(
                page.close(code=WSCloseCode.GOING_AWAY, message=b"restart")
                for page in list(self._pages)
                if page.prepared
            )
        )

    async def _talk(
        self,
        page: web.WebSocketResponse,
        request: web.Request,
        authenticator: Authenticator,
    ) -> None:
        with self._home.subscribe() as events:
            self._events.add(events)
            try:
                async with asyncio.TaskGroup() as tasks:
                    sending = tasks.create_task(
                        self._send_all(page, events, request, authenticator),
                        name=f"live page of {request.remote}",
                    )
                    await _listen(page)
                    sending.cancel()
            finally:
                self._events.discard(events)

    async def _send_all(
        self,
        page: web.WebSocketResponse,
        events: Subscription,
        request: web.Request,
        authenticator: Authenticator,
    ) -> None:
        """Send what happens. Closes the page when nobody may or does read it."""
        event: Event | None = {"type": RESYNC}
        try:
            while await authenticator.user(request) is not None:
                if event is not None:
                    await self._send(page, event)
                event = await self._next(events)
            await page.close(code=WSCloseCode.POLICY_VIOLATION, message=b"logged out")
        except TimeoutError:
            _LOGGER.debug("%s: the page is asleep, dropped", request.remote)
            _drop(request)  # a polite close would wait for it as well
        except ConnectionError:
            _LOGGER.debug("%s: the page is gone", request.remote)
        except HearthgateError as err:  # who is asking can't be found out now
            _LOGGER.info("%s: the page has to come back: %s", request.remote, err)
            await page.close(code=WSCloseCode.TRY_AGAIN_LATER)
        except Exception:
            # One page must not take others down, and is too late for an error in JSON.
            _LOGGER.exception("%s: the live page failed", request.remote)
            await page.close(code=WSCloseCode.INTERNAL_ERROR)

    async def _send(self, page: web.WebSocketResponse, event: Event) -> None:
        """Send one event; RESYNC as the state of the moment it is sent."""
        if event["type"] == RESYNC:
            event = {"type": "state", "state": self._home.snapshot()}
        async with asyncio.timeout(self._send_seconds):
            await page.send_str(json.dumps(event))

    async def _next(self, events: Subscription) -> Event | None:
        try:
            async with asyncio.timeout(self._check_seconds):
                return await events.get()
        except TimeoutError:
            return None


async def _listen(page: web.WebSocketResponse) -> None:
    """Wait for the end of the page's side. What it says means nothing."""
    async for _message in page:
        pass


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
