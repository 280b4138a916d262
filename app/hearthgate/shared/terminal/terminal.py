"""Print words for a person at a terminal, with nothing in them that acts on it.

    lines ──hearthgate.shared.terminal.visible──▶ standard output or error

Names of homes and services, addresses and the words of a relay come from elsewhere.
Holds no words of its own; JSON for programs goes out as it is: it escapes by itself.
"""

import click

from hearthgate.shared.terminal.visible import visible_lines


def say(text: str) -> None:
    """Print one line or several. Their ends are ours: see `visible` for a name."""
    click.echo(visible_lines(text))


def say_error(text: str, advice: str = "") -> None:
    """Print to standard error what went wrong, in red, and what to do about it."""
    click.secho(visible_lines(text), fg="red", bold=True, err=True)
    if advice:
        click.echo(visible_lines(advice), err=True)
