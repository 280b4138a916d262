"""The `hearthgate` command.

    hearthgate relay …    on the VPS       hearthgate home …    at home

Each side brings its own commands, and only the one that is asked for is imported: a
relay has no need of what a home is made of.
"""

from collections.abc import Iterator
import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from hearthgate import __version__
from hearthgate.errors import HearthgateError
from hearthgate.shared.terminal.terminal import say_error

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIDES = {
    "relay": ("hearthgate.relay.commands", "Run and manage a relay (on the VPS)."),
    "home": ("hearthgate.home.commands", "Run and manage a home."),
}


@contextlib.contextmanager
def _no_authorities() -> Iterator[None]:
    """Let nobody load the system's certificate authorities for the time being.

    aiohttp does when it is imported, which is 2 MB; a relay asks none about anybody.
    """
    name = "SSL_CERT_FILE"  # as OpenSSL calls it
    before = os.environ.get(name)
    os.environ[name] = os.devnull
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


class _Sides(click.Group):
    """Load the commands of a side when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_SIDES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _SIDES:
            return None
        module, text = _SIDES[cmd_name]
        with _no_authorities() if cmd_name == "relay" else contextlib.nullcontext():
            group: click.Group = importlib.import_module(module).commands
        group.help = text
        return group

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:  # does not import a side for its one line of help
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _SIDES.items()])


@click.group(cls=_Sides, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hearthgate")
def hearthgate() -> None:
    """Put services of your home on the Internet, through a relay that you own."""


def main(arguments: "Sequence[str] | None" = None) -> None:
    """Run the command. An error that a user can mend becomes a sentence."""
    try:
        hearthgate.main(arguments, prog_name="hearthgate")
    except HearthgateError as err:
        say_error(str(err), err.advice)
        sys.exit(1)
