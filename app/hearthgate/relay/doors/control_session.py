"""One session from its hello to its end: what an agent says, and what becomes of it.

    hello ─▶ which machine? ─▶ welcome ─▶ request, reply … ─▶ goodbye, or gone

Everything that an agent sends is charged to its home before it is acted on: frames and
bytes as they come in (intake.py), messages and names here. The messages are described
in wire/messages.py; what they mean for visitors is in sessions.py.
"""

import asyncio
from collections.abc import Callable
import functools
import logging
import time

from aiohttp import WSMsgType, web

from hearthgate import __version__
from hearthgate.relay.accept.deadline import DeadlineProtocol
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.forwards.tcp import Forwards
from hearthgate.relay.forwards.udp import Datagrams
from hearthgate.relay.homes.budgets import Budgets
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.homes.former_machines import Machines
from hearthgate.relay.homes.outbox import Outbox
from hearthgate.relay.homes.registry import Home, Registry
from hearthgate.relay.homes.sessions import Session, Sessions
from hearthgate.relay.limits import Limits
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire import messages
from hearthgate.wire.constants import SUPPORTED_PROTOCOLS
from hearthgate.wire.fitting import fitted

_LOGGER = logging.getLogger(__name__)

CLOSE_S = 2.0  # for the other side to take part in the end of a connection
_OUTBOX_MAX = 1024  # messages; an agent that lets so many pile up reads none
_OUTBOX_MAX_BYTES = 1024 * 1024
_NOTHING_MORE = ""
FEATURES = (
    messages.Feature.FORWARDS,
    messages.Feature.DATAGRAMS,
    messages.Feature.MACHINES,
    messages.Feature.SEALING,
)


class Conversations:
    """Hold the sessions of homes that have proved who they are. Lives in one loop."""

    def __init__(
        self,
        *,
        registry: Registry,
        sessions: Sessions,
        answers: Answers,
        limits: Limits,
        counters: Counters,
        budgets: Budgets,
        addresses: Callable[[str | None], tuple[str, ...]],
        forwards: Forwards,
        datagrams: Datagrams,
        datagram_port: int,
        clock: Callable[[], float],
        tasks: Tasks,
    ) -> None:
        self._registry = registry
        self._sessions = sessions
        self._answers = answers
        self._limits = limits
        self._counters = counters
        self._budgets = budgets
        self._addresses = addresses
        self._forwards = forwards
        self._datagrams = datagrams
        self._datagram_port = datagram_port
        self._clock = clock
        self._tasks = tasks
        self._machines = Machines(registry, sessions, budgets.moves)

    async def hold(
        self,
        home: Home,
        socket_: web.WebSocketResponse,
        request: web.BaseRequest,
        deadline: DeadlineProtocol,
    ) -> None:
        """Hold a session from its hello to its end."""
        begun = await self._hello(home, socket_)
        if begun is None:
            return
        deadline.keep()
        why_not = await self._machines.admit(home, begun[0])
        if why_not is not None:
            await socket_.send_str(messages.write_message(why_not))
            self._counters.refuse("a second machine", why_not.message, home=home.name)
            return
        # Stopping: it comes back to whoever serves then. Or it was revoked meanwhile.
        now = self._registry.home(home.id)
        if self._sessions.stopping or now is None:
            return
        await self._session(now, begun, socket_, request, deadline)

    async def _hello(
        self, home: Home, socket_: web.WebSocketResponse
    ) -> tuple[messages.Hello, int] | None:
        """Return an agent's hello and the common version; None: it was sent away."""
        try:
            async with asyncio.timeout(self._limits.control_handshake_deadline_s):
                hello = messages.read_message(await socket_.receive_str())
        except (TimeoutError, TypeError, messages.ControlMessageError) as err:
            self._counters.refuse("a session without a hello", str(err), home=home.name)
            return None
        version = _common_version(hello)
        if not isinstance(hello, messages.Hello) or version is None:
            await socket_.send_str(messages.write_message(_update_needed()))
            self._counters.refuse("a session in another language", home=home.name)
            return None
        return hello, version

    async def _session(
        self,
        home: Home,
        begun: tuple[messages.Hello, int],
        socket_: web.WebSocketResponse,
        request: web.BaseRequest,
        deadline: DeadlineProtocol,
    ) -> None:
        hello, version = begun
        outbox = Outbox[str](most=_OUTBOX_MAX, max_bytes=_OUTBOX_MAX_BYTES)
        session = self._begin(home, hello, request, outbox, deadline)
        deadline.tell(functools.partial(self._misbehaved, session))
        local = request.get_extra_info("sockname")
        session.send(self._welcome(session, version, local[0] if local else None))
        began = self._clock()
        _LOGGER.info(
            "%s: Connected from %s with Hearthgate %s, session %d",
            home.name,
            request.remote,
            hello.software,
            session.generation,
        )
        sender = self._tasks.start(_send_all(outbox, socket_), f"send to {home.name}")
        why = "the connection was lost"
        try:
            why = await self._receive(session, socket_)
            if session.ended:  # a goodbye is on its way
                await asyncio.wait({sender}, timeout=CLOSE_S)
        finally:
            sender.cancel()
            self._sessions.finish(session)
            self._datagrams.detach(home.id, session)
            _LOGGER.info(
                "%s: Session %d ended after %d s: %s",
                home.name,
                session.generation,
                self._clock() - began,
                why,
            )

    def _begin(
        self,
        home: Home,
        hello: messages.Hello,
        request: web.BaseRequest,
        outbox: Outbox[str],
        deadline: DeadlineProtocol,
    ) -> Session:
        def send(message: messages.Message) -> None:
            room = outbox.put(messages.write_message(fitted(message)))
            if isinstance(message, messages.Goodbye):
                room = outbox.put(_NOTHING_MORE) and room
            if not room:
                self._counters.refuse("an agent that does not read", home=home.name)
                deadline.abort()

        def leave() -> None:
            # An agent that reads nothing never sees the goodbye either.
            deadline.abort_in(CLOSE_S)

        session = self._sessions.begin(home, send, leave)
        session.features = frozenset(hello.features)
        session.seals = hello.seals
        session.since = time.time()
        session.software = hello.software
        session.remote = request.remote or ""
        self._datagrams.attach(session)
        return session

    def _welcome(
        self, session: Session, version: int, dialled: str | None
    ) -> messages.Welcome:
        home = session.presence.home
        return messages.Welcome(
            protocol=version,
            session_id=session.id,
            generation=session.generation,
            channel_key=session.key,
            home=home.name,
            domains=home.domains,
            addresses=self._addresses(dialled),
            channels_max=self._limits.channels_per_home_max,
            software=__version__,
            features=FEATURES,
            tcp=home.ports.tcp,
            udp=home.ports.udp,
            datagram_port=self._datagram_port,
        )

    def _misbehaved(self, session: Session, why: str, detail: str = "") -> None:
        """Say goodbye to an agent that breaks the protocol or its budget."""
        self._counters.refuse(why, detail, home=session.presence.home.name)
        self._sessions.finish(session, messages.GoodbyeReason.MISBEHAVED)

    async def _receive(self, session: Session, socket_: web.WebSocketResponse) -> str:
        """Carry out an agent's messages until the session ends; return why it did."""
        home_id = session.presence.home.id
        async for frame in socket_:
            if session.ended or frame.type is WSMsgType.ERROR:  # a pong did not come
                break
            if frame.type is not WSMsgType.TEXT:
                self._misbehaved(session, "a control frame that is no text")
                return "it sent something that is no text"
            too_much = self._budgets.charge_message(home_id)
            if too_much:
                self._misbehaved(session, too_much)
                return f"it sent {too_much}"
            try:
                reply = self._carry_out(session, messages.read_message(frame.data))
            except messages.ControlMessageError as err:
                self._misbehaved(session, "a control message", str(err))
                return str(err)
            if reply is None:
                return "it asked for too much"
            session.send(reply)
        error = socket_.exception()
        if session.ended:
            return "a newer session or the relay ended it"
        return str(error) if error else "the agent closed it or was gone"

    def _carry_out(
        self, session: Session, message: messages.Message
    ) -> messages.Message | None:
        """Return the reply; None: the home was sent away."""
        home = session.presence.home
        match message:
            case messages.Publish():
                if not self._pays_for(session, len(message.hostnames)):
                    return None
                refused = self._sessions.publish(session, message.hostnames)
                for why in refused.values():
                    self._counters.refuse("a hostname", why, home=home.name)
                return messages.Published(message.id, refused)
            case messages.Forwards():
                if not self._pays_for(session, len(message.forwards)):
                    return None
                refused = self._forwards.declare(session, message.forwards)
                return messages.Forwarded(message.id, refused)
            case messages.Answer():
                return self._show_answer(home, message)
            case messages.DropAnswer():
                self._answers.drop(home.id, message.hostname, message.token)
                return messages.Done(message.id)
            case _:
                raise messages.ControlMessageError(reason="not expected here")

    def _pays_for(self, session: Session, names: int) -> bool:
        too_much = self._budgets.charge_names(session.presence.home.id, names)
        if too_much:
            self._misbehaved(session, too_much)
        return not too_much

    def _show_answer(self, home: Home, message: messages.Answer) -> messages.Message:
        if not home.covers(message.hostname):
            self._counters.refuse(
                "an ACME answer outside the grant", message.hostname, home=home.name
            )
            return messages.Refused(
                message.id,
                "hostname_not_granted",
                f"This relay does not let your home use {message.hostname}.",
            )
        shown = self._answers.put(
            home.id, message.hostname, message.token, message.key_authorization
        )
        if not shown:
            self._counters.refuse("more ACME answers than allowed", home=home.name)
            return messages.Refused(
                message.id, "too_many_answers", "This relay shows enough answers."
            )
        return messages.Done(message.id)


async def _send_all(outbox: Outbox[str], socket_: web.WebSocketResponse) -> None:
    """Send what is in the outbox until there is nothing more after a goodbye."""
    try:
        while (text := await outbox.get()) != _NOTHING_MORE:
            await socket_.send_str(text)
        await socket_.close()
    except ConnectionError:
        return  # the receiving side finds out too, and says so


def _common_version(hello: messages.Message) -> int | None:
    if not isinstance(hello, messages.Hello):
        return None
    common = [one for one in SUPPORTED_PROTOCOLS if one in hello.protocols]
    return common[0] if common else None


def _update_needed() -> messages.Refused:
    spoken = ", ".join(str(one) for one in SUPPORTED_PROTOCOLS)
    return messages.Refused(
        0,
        "protocol_unknown",
        f"This relay speaks the protocol versions {spoken}, your home another one. "
        "Update the older of the two.",
    )
