"""Fuzz one parser, led by coverage, for as long as you like.

    pip install atheris && python -m tests.fuzz NAME [--seconds 600]

What broke it is printed and kept as ./crash-…; give the file's name to read it again.
"""

from pathlib import Path
import sys
import tempfile

import click


@click.command()
@click.argument("name")
@click.option("--seconds", default=600, show_default=True)
@click.option("--again", type=click.Path(path_type=Path), help="read this file once")
def main(name: str, seconds: int, again: Path | None) -> None:
    """Fuzz a target of tests.fuzz.targets."""
    import atheris  # noqa: PLC0415  nobody else needs it

    with atheris.instrument_imports(include=["hearthgate"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  while it instruments

    if name not in TARGETS:
        raise click.BadParameter(f"known are {', '.join(TARGETS)}")
    target = TARGETS[name]
    if again is not None:
        target.read(again.read_bytes())
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", corpus]
        atheris.Setup([sys.argv[0], *options], target.read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
