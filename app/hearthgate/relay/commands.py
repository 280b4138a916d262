"""`hearthgate relay …`: run a relay, and manage the homes on it."""

import asyncio
from collections.abc import Callable
import contextlib
from dataclasses import replace
import json
from pathlib import Path
import time
from typing import Any
from urllib.parse import quote

import click
import uvloop

from hearthgate.relay.errors import NoRelayDataError
from hearthgate.relay.homes.invitations import Invitation, invitation_text
from hearthgate.relay.owner.admin import (
    HEALTH_PATH,
    LIFETIME_LEAST_S,
    LIFETIME_MOST_S,
    SOCKET_NAME,
    Operations,
    RelayNotRunningError,
    ask,
    ports_of,
)
from hearthgate.relay.public_addresses import with_learned_address
from hearthgate.relay.relay import STATE_NAME, open_keys, open_registry, serve
from hearthgate.relay.settings import RelaySettings
from hearthgate.shared.process.health import ask as ask_health
from hearthgate.shared.process.log import set_up_log
from hearthgate.shared.settings.kinds import read_duration
from hearthgate.shared.settings.loader import load_settings
from hearthgate.shared.storage.folders import data_folder, lock_folder
from hearthgate.shared.storage.private_files import status_of
from hearthgate.shared.terminal.terminal import say
from hearthgate.shared.terminal.visible import visible
from hearthgate.wire.names import describe_hostname

_Option = Callable[[Callable[..., None]], Callable[..., None]]


def _options(*options: _Option) -> _Option:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_where = _options(
    click.option("--data", metavar="FOLDER", help="Where the relay keeps its state."),
    click.option("--settings", metavar="FILE", help="A settings file (YAML)."),
)
_claims = _options(
    click.option("--tcp", multiple=True, metavar="PORTS", help="As in 25565."),
    click.option("--udp", multiple=True, metavar="PORTS", help="As in 51820-51830."),
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("relay")
def commands() -> None:
    """Run and manage a relay."""


def _load(settings: str | None, **flags: object) -> RelaySettings:
    file = Path(settings) if settings else None
    loaded = load_settings(RelaySettings, file=file, flags=flags)
    return with_learned_address(loaded)


@commands.command()
@_where
@click.option("--address", help="The name or IP address by which homes reach it.")
@click.option("--https-port", help="Port for visitors and homes (443).")
@click.option("--http-port", help="Port for redirects and ACME answers (80).")
@click.option("--bind", help="IP addresses to listen on, with commas between.")
@click.option("--log-level", help="debug, info, warning or error.")
@click.option(
    "--take-over", is_flag=True, help="Replace the relay that runs, losing no visitor."
)
def run(
    *, data: str | None, settings: str | None, take_over: bool, **flags: str | None
) -> None:
    """Run the relay until it is stopped."""
    level = flags.pop("log_level")
    loaded = _load(settings, data=data, **flags, **{"log.level": level})
    set_up_log(loaded.log.level, loaded.log.format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(loaded, take_over=take_over))


@commands.command()
@_where
@click.option("--address", help="The relay's address, if its settings do not say it.")
@click.option(
    "--domain",
    "domains",
    multiple=True,
    help="May be given repeatedly. Without it, a name below the relay's own.",
)
@_claims
@click.option("--name", required=True, help="What the home is called, as in cottage.")
@click.option("--valid", default="24h", show_default=True, help="How long it works.")
@_as_json
def invite(
    *,
    data: str | None,
    settings: str | None,
    address: str | None,
    domains: tuple[str, ...],
    tcp: tuple[str, ...],
    udp: tuple[str, ...],
    name: str,
    valid: str,
    as_json: bool,
) -> None:
    """Make a pairing code for a home that may use DOMAIN and all names below.

    Without a domain of your own leave --domain out: the home gets a name below the
    relay's, or below one that is made of its IP address.

    With --tcp and --udp it may also use these public ports.
    """
    loaded = _load(settings, data=data, address=address)
    body = {
        "name": name,
        "domains": list(domains),
        "tcp": list(tcp),
        "udp": list(udp),
        "lifetime_s": _lifetime_s(valid),
        "address": loaded.address,
    }
    made = _do(loaded, "POST", "/invites", body, lambda one: one.invite(body))
    if as_json:
        click.echo(json.dumps(made))
        return
    invitation = Invitation(
        made["code"],
        made["name"],
        tuple(made["domains"]),
        made["expires"],
        ports_of(made),
    )
    say(invitation_text(invitation))


def _lifetime_s(text: str) -> int:
    try:
        lifetime_s = int(read_duration(text))
    except ValueError as err:
        raise click.BadParameter(
            "give a duration such as 24h or 7d", param_hint="--valid"
        ) from err
    if not LIFETIME_LEAST_S <= lifetime_s <= LIFETIME_MOST_S:
        raise click.BadParameter("give something from 1m to 365d", param_hint="--valid")
    return lifetime_s


@commands.command()
@_where
@_as_json
def homes(data: str | None, settings: str | None, *, as_json: bool) -> None:
    """List the homes on this relay, and the codes that wait to be used."""

    async def listed(operations: Operations) -> dict[str, Any]:
        return operations.homes()

    answer = _do(_load(settings, data=data), "GET", "/homes", None, listed)
    if as_json:
        click.echo(json.dumps(answer))
        return
    from hearthgate.relay.owner import tables  # noqa: PLC0415  not in a running relay

    tables.show_homes(answer)


@commands.command()
@_where
@click.argument("name")
@click.option("--domain", "domains", multiple=True, help="May be given repeatedly.")
@_claims
@click.option("--remove", is_flag=True, help="Take away instead of adding.")
@_as_json
def grant(
    *,
    data: str | None,
    settings: str | None,
    name: str,
    domains: tuple[str, ...],
    tcp: tuple[str, ...],
    udp: tuple[str, ...],
    remove: bool,
    as_json: bool,
) -> None:
    """Let the home NAME use more domains or ports, or with --remove fewer.

    Works at once, also while the relay is running; what is taken away is cut.
    """
    if not (domains or tcp or udp):
        raise click.UsageError("Say what with --domain, --tcp or --udp.")
    body = {
        "domains": list(domains),
        "tcp": list(tcp),
        "udp": list(udp),
        "remove": remove,
    }
    path = f"/homes/{quote(name, safe='')}/grant"
    loaded = _load(settings, data=data)
    home = _do(loaded, "POST", path, body, lambda one: one.grant(name, body))
    if as_json:
        click.echo(json.dumps(home))
        return
    held = ", ".join(map(describe_hostname, home["domains"])) or "no domain"
    ports = ports_of(home)
    say(
        f"The home {visible(name)} may use {held}{f' and ports {ports}' * bool(ports)}."
    )


@commands.command()
@_where
@click.argument("name")
@_as_json
def show(data: str | None, settings: str | None, name: str, *, as_json: bool) -> None:
    """Show all about the home NAME, or about its unused code."""

    async def found(operations: Operations) -> dict[str, Any]:
        return operations.show(name)

    path = f"/homes/{quote(name, safe='')}"
    answer = _do(_load(settings, data=data), "GET", path, None, found)
    if as_json:
        click.echo(json.dumps(answer))
        return
    from hearthgate.relay.owner import tables  # noqa: PLC0415  not in a running relay

    tables.show_home(answer)


@commands.command()
@_where
@click.argument("name")
@_as_json
def revoke(data: str | None, settings: str | None, name: str, *, as_json: bool) -> None:
    """Remove the home NAME, or its unused code. Cuts its visitors at once."""
    answer = _do(
        _load(settings, data=data),
        "DELETE",
        f"/homes/{quote(name, safe='')}",
        None,
        lambda one: one.revoke(name),
    )
    if as_json:
        click.echo(json.dumps(answer))
    elif answer["was_paired"]:
        say(f"The home {visible(name)} is removed and cannot come back without a code.")
    else:
        say(f"The pairing code for {visible(name)} does not work any more.")


@commands.command()
@_where
@_as_json
def status(data: str | None, settings: str | None, *, as_json: bool) -> None:
    """Show what the running relay is doing."""
    answer = _do(_load(settings, data=data), "GET", "/status", None, None)
    if as_json:
        click.echo(json.dumps(answer))
        return
    from hearthgate.relay.owner import tables  # noqa: PLC0415  not in a running relay

    tables.show_status(answer)


@commands.command()
@_where
def health(data: str | None, settings: str | None) -> None:
    """Say whether the relay on this machine answers; for health checks."""
    problem = ask_health(_load(settings, data=data).data / SOCKET_NAME, HEALTH_PATH)
    if problem is not None:
        raise click.ClickException(visible(problem))
    say("The relay answers.")


_Direct = Callable[[Operations], Any]


def _do(
    settings: RelaySettings,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    direct: _Direct | None,
) -> dict[str, Any]:
    """Ask the running relay, or work on its data folder if none runs."""

    async def run_it() -> dict[str, Any]:
        with contextlib.suppress(RelayNotRunningError):
            return await ask(settings.data, method, path, body)
        if method != "POST" and status_of(settings.data / STATE_NAME) is None:
            raise NoRelayDataError(folder=settings.data)
        if direct is None:
            raise click.ClickException("The relay is not running.")
        own = replace(settings, data=data_folder(settings.data))
        with lock_folder(own.data):
            registry = open_registry(own, time.time)
            keys = open_keys(own.data, registry)
            operations = Operations(registry, keys, own)
            answer: dict[str, Any] = await direct(operations)
            return answer

    return asyncio.run(run_it())
