"""Other versions of Hearthgate: a copy of the package that says it is the next one.

    app/hearthgate ──copy, edit──▶ folder/hearthgate ──PYTHONPATH──▶ a process of ours

What a test changes in it is what that version does otherwise. No pytest here.
"""

from pathlib import Path
import shutil

import hearthgate

NEXT = "0.99.0"


class OtherVersion:
    """A copy of the package below a folder. Give its environment to a process."""

    def __init__(self, folder: Path, version: str = NEXT) -> None:
        """Copy the package that is imported here."""
        self.version = version
        self._folder = folder
        self._package = folder / "hearthgate"
        shutil.copytree(
            Path(hearthgate.__file__).parent,
            self._package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        self.edit("__init__.py", f'"{hearthgate.__version__}"', f'"{version}"')

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process run this version."""
        return {"PYTHONPATH": str(self._folder)}

    def edit(self, module: str, old: str, new: str) -> None:
        """Replace a piece of a module. Raises ValueError unless it is there once."""
        path = self._package / module
        text = path.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{module} has {old!r} {text.count(old)} times")
        path.write_text(text.replace(old, new))


def this_version() -> dict[str, str]:
    """Return what makes a process run the version under test again."""
    return {"PYTHONPATH": str(Path(hearthgate.__file__).parents[1])}
