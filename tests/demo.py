"""The main job on one machine, with real parts: `make demo`.

    avahi ──mDNS──▶ home ──pairing code──▶ relay ◀──https── a visitor
    a small web service ◀──edge──┘           ▲ port 80
                                  Pebble ────┘ a certificate authority for tests

Starts everything on loopback and free ports, flips one switch through the API, visits
the public hostname with the authority's root verified, and says what it did and how
long it took. Then it shows the log until Ctrl-C; with --once it ends with 0 or 1.
Leaves nothing behind.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import itertools
from pathlib import Path
import signal
import sys
import tempfile
import time

from aiohttp import ClientError

from tests.harness.hearthgate import Api, ApiError, Json, Process, ProcessError
from tests.harness.mdns import Avahi, AvahiError
from tests.harness.pebble import PebbleError
from tests.harness.scene import LOOPBACK, Scene, SceneError
from tests.harness.webservice import WebServiceError

PASSWORD = "let me look around"
_SERVICE = "Living room"
_STEP_DEADLINE_S = 60.0
_IS_TERMINAL = sys.stdout.isatty()
_CHECK = "\033[32m✓\033[0m" if _IS_TERMINAL else "✓"
_CROSS = "\033[31m✗\033[0m" if _IS_TERMINAL else "✗"
_STEPS = {
    "checking_dns": "DNS checked",
    "ordering": "certificate ordered",
    "proving": "ownership proven, certificate signed",
    "switching_on": "edge and relay switched, visited through the relay",
}
_NOT_WORKING = (
    ApiError,
    AvahiError,
    ClientError,
    OSError,
    PebbleError,
    ProcessError,
    SceneError,
    TimeoutError,
    WebServiceError,
)


class CheckFailedError(Exception):
    """Raise if a step did not show what it should."""


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Do one step, and say how long it took."""
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"  {_CROSS} {what}")
        raise
    say(f"  {_CHECK} {what:<58} {time.monotonic() - began:6.2f} s")


@contextlib.asynccontextmanager
async def parts() -> AsyncIterator[tuple[Scene, Avahi]]:
    """Run all parts; ends them whatever happens."""
    with contextlib.ExitStack() as stack:
        avahi = stack.enter_context(Avahi())
        scene = Scene(
            home_environment={
                "HEARTHGATE_DISCOVERY__ENABLED": "yes",
                "HEARTHGATE_DISCOVERY__INTERFACES": LOOPBACK,
                "HEARTHGATE_PASSWORD": PASSWORD,
            },
            paired=False,
        )
        async with scene:
            yield scene, avahi


async def main_job(scene: Scene, avahi: Avahi) -> tuple[Json, Path]:
    """Go from nothing to a visit; return the service and the authority's root."""
    with step("the service announces itself by mDNS"):
        avahi.publish(_SERVICE, "_http._tcp", scene.web.port)
    with step("pairing: invite at the relay, join at home"):
        await scene.pair()
    async with scene.home.api() as api:
        with step("discovered, with title and icon"):
            found = await api.service(
                lambda one: (
                    one["port"] == scene.web.port
                    and bool(one["title"])
                    and bool(one["icon"])
                ),
                deadline_s=_STEP_DEADLINE_S,
            )
        hostname = found["suggested_hostname"]
        scene.pebble.set_a(hostname, [LOOPBACK])
        service = await switch_on(api, found["id"])
    with step("first byte at the public hostname, certificate verified"):
        answer = await scene.visit(hostname)
        if answer.status != 200 or found["title"].encode() not in answer.body:
            raise CheckFailedError(f"unexpected answer: {answer.status}")
    with step("the service saw the visitor's own address"):
        seen = (await scene.visit(hostname, "/echo", source="127.0.0.7")).json()
        if seen["headers"].get("X-Forwarded-For") != "127.0.0.7":
            raise CheckFailedError(f"unexpected headers: {seen['headers']}")
    root = Path(tempfile.mkdtemp(prefix="hearthgate-demo-")) / "root.pem"
    root.write_bytes(scene.pebble.root_pem())
    return service, root


async def switch_on(api: Api, service_id: str) -> Json:
    """Flip the switch, and say how long each of its steps took."""
    phases: dict[str, float] = {}

    def look(state: Json) -> Json | None:
        service: Json = next(
            one for one in state["services"] if one["id"] == service_id
        )
        phase = service["exposure"]["status"]["phase"] if service["exposure"] else ""
        phases.setdefault(phase, time.monotonic())
        return service if phase in {"live", "failed"} else None

    with step("switched on, from the toggle to live"):
        await api.call("PUT", f"services/{service_id}/exposure", {"enabled": True})
        service = await api.until(look, deadline_s=_STEP_DEADLINE_S)
        status = service["exposure"]["status"]
        if status["phase"] != "live":
            raise CheckFailedError(f"not live: {status}")
    moments = sorted((at, name) for name, at in phases.items())
    for (began, name), (ended, _) in itertools.pairwise(moments):
        if name in _STEPS:
            say(f"      {_STEPS[name]:<56} {ended - began:6.2f} s")
    return service


async def off_and_on(scene: Scene, service: Json) -> None:
    """Switch off and on again, as a check."""
    hostname = service["exposure"]["hostname"]
    async with scene.home.api() as api:
        with step("switched off, and nobody comes in"):
            await api.hide(service["id"])
            try:
                await scene.visit(hostname)
            except (ClientError, OSError):
                pass
            else:
                raise CheckFailedError("it still answers")
        with step("switched on again, with the same certificate"):
            await api.expose(service["id"])
            if (await scene.visit(hostname)).status != 200:
                raise CheckFailedError("it does not answer")


def explain(scene: Scene, service: Json, root: Path) -> None:
    """Say what to open and what to try."""
    exposure = service["exposure"]
    port = scene.relay.https_port
    connect = f"--connect-to {exposure['hostname']}:{port}:{LOOPBACK}:{port}"
    environment = f"HEARTHGATE_DATA={scene.home.data}"
    command = Path(sys.executable).with_name("hearthgate")
    say()
    say(f"  The page       http://{LOOPBACK}:{scene.home.web_port}/")
    say(f"  its password   {PASSWORD}")
    say(f"  Public         {exposure['url']}")
    say()
    say("  Try, in another terminal:")
    say(f"    curl --cacert {root} {connect} {exposure['url']}")
    say(f"    {environment} {command} home status")
    say(f"    {environment} {command} home hide {service['id']}")
    say(f"    HEARTHGATE_DATA={scene.relay.data} {command} relay homes")
    say()
    say("  Ctrl-C ends it and leaves nothing behind. The log from here on:")
    say()


async def follow(name: str, process: Process) -> None:
    """Show what a process logs from now on."""
    with process.log_path.open(errors="replace") as log:
        log.seek(0, 2)
        while True:
            line = log.readline()
            if line:
                say(f"  {name:<5} │ {line.rstrip()}")
            else:
                await asyncio.sleep(0.2)


async def show_log(scene: Scene) -> None:
    """Show both logs until Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        shown = [
            tasks.create_task(follow("relay", scene.relay), name="relay log"),
            tasks.create_task(follow("home", scene.home), name="home log"),
        ]
        await stop.wait()
        for task in shown:
            task.cancel()


async def demo(*, once: bool) -> int:
    """Run it; return the exit status."""
    say("Hearthgate on this machine: starting all parts …")
    root: Path | None = None
    async with parts() as (scene, avahi):
        try:
            service, root = await main_job(scene, avahi)
            if once:
                await off_and_on(scene, service)
            else:
                explain(scene, service, root)
                await show_log(scene)
        except (CheckFailedError, *_NOT_WORKING) as err:
            say(f"\nThis did not work: {err}")
            say(f"\nThe relay's log:\n{scene.relay.log[-4000:]}")
            say(f"\nThe home's log:\n{scene.home.log[-4000:]}")
            return 1
        finally:
            if root is not None:
                root.unlink(missing_ok=True)
                root.parent.rmdir()
            say("Stopping …")
    say("All of it worked." if once else "Nothing is left.")
    return 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="check it and end")
    options = parser.parse_args()
    try:
        return asyncio.run(demo(once=options.once))
    except KeyboardInterrupt:
        return 130
    except _NOT_WORKING as err:
        say(f"This did not work: {err}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
