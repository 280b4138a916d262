"""`hearthgate home …`: run a home, and use a running one from the command line.

command ──UNIX socket of the data folder, mode 0600──▶ the same API as the page
"""

import asyncio
import json
import os
from pathlib import Path
import time
from typing import Any

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    UnixConnector,
)
import click
import uvloop

from hearthgate.errors import HearthgateError
from hearthgate.home.agent import agent_socket, serve
from hearthgate.home.settings import ADD_ON_OPTIONS, HomeSettings
from hearthgate.shared.process.log import set_up_log
from hearthgate.shared.settings.loader import load_settings
from hearthgate.shared.storage.private_files import check_socket
from hearthgate.shared.terminal.plain_table import PlainTable
from hearthgate.shared.terminal.terminal import say
from hearthgate.shared.terminal.visible import visible

_REQUEST_TIMEOUT_S = 60.0
_OFF_DEADLINE_S = 30.0  # a second is usual; the relay may be slow to answer
_LOOK_S = 0.1
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_data = click.option("--data", metavar="FOLDER", help="Where the home keeps its state.")
_settings = click.option("--settings", metavar="FILE", help="A settings file (YAML).")


class AgentNotRunningError(HearthgateError):
    """Raise if no agent answers."""

    code = "agent_not_running"
    message = "No home is running with the data folder {data}."
    hint = "Start it with: hearthgate home run --data {data}"


class AgentNotAllowedError(HearthgateError):
    """Raise if the agent's socket belongs to somebody else."""

    code = "agent_not_allowed"
    message = "The home with the data folder {data} belongs to another user."
    hint = "Run this command as the user that the home runs as, or as root."


class AgentSlowError(HearthgateError):
    """Raise if an agent is there and does not answer in time."""

    code = "agent_slow"
    message = "The home with the data folder {data} did not answer in {seconds} s."
    hint = "What was asked for may still happen. See: hearthgate home status"


class NotHiddenError(HearthgateError):
    """Raise if a service is not off in time."""

    code = "not_hidden"
    message = "{name} is not off yet after {seconds} s{why}."
    hint = "The home goes on trying. See: hearthgate home status"


class AgentAnswerError(HearthgateError):
    """Raise if the agent refused, with its own words."""

    code = "agent_answer"
    message = "{message}"
    hint = "{hint}"


@click.group("home")
def commands() -> None:
    """Run and manage a home."""


def _load(settings: str | None, **flags: object) -> HomeSettings:
    file = Path(settings) if settings else None
    token = os.environ.get("SUPERVISOR_TOKEN")
    if not token:
        return load_settings(HomeSettings, file=file, flags=flags)
    flags["hass.token"] = token  # we are an add-on of Home Assistant
    data = load_settings(HomeSettings, file=file, flags=flags).data
    return load_settings(
        HomeSettings,
        file=file,
        flags=flags,
        options=data / "options.json",
        offered=ADD_ON_OPTIONS,
    )


@commands.command()
@_data
@_settings
@click.option("--web-host", help="Address on which the page is served (0.0.0.0).")
@click.option("--web-port", help="Port of the page (8099).")
@click.option("--staging", is_flag=True, default=None, help="Let's Encrypt's test CA.")
@click.option("--log-level", help="debug, info, warning or error.")
def run(
    *,
    data: str | None,
    settings: str | None,
    web_host: str | None,
    web_port: str | None,
    staging: bool | None,
    log_level: str | None,
) -> None:
    """Run the home until it is stopped."""
    flags = {
        "data": data,
        "web.host": web_host,
        "web.port": web_port,
        "acme.staging": staging,
        "log.level": log_level,
    }
    loaded = _load(settings, **flags)
    set_up_log(loaded.log.level, loaded.log.format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(loaded))


@commands.command()
@_data
@_settings
@click.argument("code", nargs=-1, required=True)
@_as_json
def pair(
    *, data: str | None, settings: str | None, code: tuple[str, ...], as_json: bool
) -> None:
    """Join a relay with the pairing CODE that it printed."""
    # A code that was copied with blanks arrives as several arguments.
    body = {"code": " ".join(code)}
    relay = _ask(_load(settings, data=data), "POST", "/api/relays", body)
    if as_json:
        click.echo(json.dumps(relay))
    else:
        host, name = visible(relay["host"]), visible(relay["name"])
        say(f"Joined the relay {host} as “{name}”.")


@commands.command()
@_data
@_settings
@_as_json
def status(*, data: str | None, settings: str | None, as_json: bool) -> None:
    """Show relays, services, and what is public."""
    state = _ask(_load(settings, data=data), "GET", "/api/state")
    if as_json:
        click.echo(json.dumps(state))
        return
    relays = PlainTable("Relay", "State", "Domains")
    for relay in state["relays"]:
        problem = relay["problem"]["message"] if relay["problem"] else ""
        relays.add_row(
            relay["host"],
            f"{relay['state']} {problem}".strip(),
            relay["domains"],
        )
    services = PlainTable("Service", "Id", "Address", "Public", whole={"Id"})
    for service in state["services"]:
        services.add_row(
            service["name"], service["id"], service["url"], _public(service["exposure"])
        )
    relays.show()
    services.show()


def _public(exposure: dict[str, Any] | None) -> str:
    if exposure is None or not exposure["enabled"]:
        return "no"
    phase = exposure["status"]["phase"].replace("_", " ")
    if exposure["status"]["problem"]:
        return f"{phase}: {exposure['status']['problem']['message']}"
    url = _url_as_read(exposure)
    return url if phase == "live" else f"{phase}: {url}"


def _url_as_read(exposure: dict[str, Any]) -> str:
    """Return the address with its hostname as people write it, umlauts and all."""
    url: str = exposure["url"]
    shown = exposure.get("hostname_shown")
    return url.replace(exposure["hostname"], shown, 1) if shown else url


@commands.command()
@_data
@_settings
@click.argument("service_id")
@click.option("--hostname", help="As in photos.home.example.com.")
def expose(
    *, data: str | None, settings: str | None, service_id: str, hostname: str | None
) -> None:
    """Put the service SERVICE_ID on the Internet, for everybody."""
    body: dict[str, Any] = {"enabled": True}
    if hostname is not None:
        body["hostname"] = hostname
    service = _set_exposure(_load(settings, data=data), service_id, body)
    name, url = visible(service["name"]), visible(_url_as_read(service["exposure"]))
    say(f"{name} will be at {url}; see how far it is with: hearthgate home status")


@commands.command()
@_data
@_settings
@click.argument("service_id")
def hide(*, data: str | None, settings: str | None, service_id: str) -> None:
    """Take the service SERVICE_ID off the Internet, at once."""
    loaded = _load(settings, data=data)
    service = _set_exposure(loaded, service_id, {"enabled": False})
    _wait_until_off(loaded, service)
    say(f"{visible(service['name'])} is off.")


def _wait_until_off(settings: HomeSettings, service: dict[str, Any]) -> None:
    """Return once nobody can visit a service any more. Raises NotHiddenError."""
    deadline = time.monotonic() + _OFF_DEADLINE_S
    while (exposure := service["exposure"]) and exposure["status"]["phase"] != "off":
        if time.monotonic() > deadline:
            problem = exposure["status"]["problem"]
            why = f": {problem['message'].rstrip('.')}" if problem else ""
            raise NotHiddenError(
                name=service["name"], seconds=round(_OFF_DEADLINE_S), why=why
            )
        time.sleep(_LOOK_S)
        state = _ask(settings, "GET", "/api/state")
        found = [one for one in state["services"] if one["id"] == service["id"]]
        if not found:
            return  # it was removed meanwhile
        service = found[0]


def _set_exposure(
    settings: HomeSettings, service_id: str, body: dict[str, Any]
) -> dict[str, Any]:
    return _ask(settings, "PUT", f"/api/services/{service_id}/exposure", body)


def _ask(
    settings: HomeSettings, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the running agent.

    Raises AgentNotRunningError, AgentNotAllowedError, AgentSlowError, AgentAnswerError,
    NotOursError.
    """
    return asyncio.run(_request(settings.data, method, path, body))


async def _request(
    data: Path, method: str, path: str, body: dict[str, Any] | None
) -> dict[str, Any]:
    check_socket(agent_socket(data))
    connector = UnixConnector(str(agent_socket(data)))
    timeout = ClientTimeout(total=_REQUEST_TIMEOUT_S)
    async with ClientSession(connector=connector, timeout=timeout) as client:
        try:
            async with client.request(
                method, f"http://agent{path}", json=body
            ) as response:
                answer: dict[str, Any] = await response.json()
        except (ClientError, OSError) as err:
            raise _no_answer(err, data) from err
    if "error" in answer:
        error = answer["error"]
        raise AgentAnswerError(message=error["message"], hint=error["hint"])
    return answer


def _no_answer(err: Exception, data: Path) -> HearthgateError:
    """Return why there is no answer, in words."""
    cause = err.os_error if isinstance(err, ClientConnectorError) else err
    if isinstance(cause, PermissionError):
        return AgentNotAllowedError(data=data)
    if isinstance(cause, TimeoutError):
        return AgentSlowError(data=data, seconds=round(_REQUEST_TIMEOUT_S))
    return AgentNotRunningError(data=data)
