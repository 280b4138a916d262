"""The rules of docs/architecture.md that a machine can check.

Reads the sources as text and syntax trees, runs nothing of them. Looks only at files
that git tracks or would add, so what make builds is not judged.
"""

import ast
from collections.abc import Iterator
import dataclasses
import functools
import importlib
import os
from pathlib import Path, PurePosixPath
import re
import shutil
import subprocess
import tomllib

import pytest

import hearthgate
from tests.tools import modules as module_list

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "app" / "hearthgate"
MAX_LINES = 700  # beyond this, readers get lost; a split is due at 400

# wire/ is what both sides agree on: bytes and values in, bytes and values out.
INPUT_AND_OUTPUT = {
    *("aiohttp", "asyncio", "concurrent", "ctypes", "fcntl", "http", "io", "logging"),
    *("multiprocessing", "os", "pathlib", "requests", "select", "selectors", "shutil"),
    *("signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time"),
    *("urllib", "uvloop", "zeroconf"),
}

VERSIONED = ("app/hearthgate/__init__.py", "config.yaml")

# What the add-on store reads as its own, and the only files that may be so named.
STORE_FILES = {"config": {"config.yaml"}, "repository": {"repository.yaml"}}
STORE_SUFFIXES = {".yaml", ".yml", ".json"}

# Only these touch files by themselves: our own folder, which may come from a hostile
# backup, is the business of the first two; the others read what was installed with us
# or what the kernel tells.
TOUCH_FILES = {
    "shared/storage/private_files.py",
    "shared/storage/folders.py",
    "home/discovery/addresses.py",
    "home/edge/console.py",  # the folder itself, and that not through a link
    "home/edge/folder.py",
    "home/edge/passwords.py",  # the folder that was made anew before
    "home/edge/pages/__init__.py",
    "home/web/page_files.py",
    "home/web/server.py",
    "home/i18n/problems.py",
}
TOUCHES = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "touch", "mkfifo"),
    *("unlink", "rmdir", "mkdir", "makedirs", "rmtree", "chmod", "chown", "iterdir"),
    *("glob", "rglob", "listdir", "scandir", "exists", "is_file", "is_dir", "walk"),
    *("is_socket", "symlink_to", "hardlink_to", "mkstemp", "NamedTemporaryFile"),
}

# In pieces, so that this file passes its own test.
PRIVATE_PLACES = re.compile(
    "|".join(
        [
            r"(?<![\w.])/" + "(work|root)" + r"/\w",
            r"/tmp/" + r"hg\b",
            r"\bpypi\." + r"org\b|\bpythonhosted\." + "org",
            r"\bregistry\." + r"npmjs\b|\bdeb\." + "debian",
            r"--(extra-)?index-" + "url[ =]h|--find-" + "links[ =]",
        ]
    )
)


@functools.cache
def repository_files() -> tuple[PurePosixPath, ...]:
    names = subprocess.run(
        [
            *("git", "-c", "safe.directory=*", "ls-files", "-z"),
            *("--cached", "--others", "--exclude-standard"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = {PurePosixPath(name) for name in names.split("\0") if name}
    return tuple(sorted(path for path in found if (ROOT / path).is_file()))


def texts() -> Iterator[tuple[PurePosixPath, str]]:
    for path in repository_files():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            yield path, content.decode()


def modules(folder: str = ".") -> list[Path]:
    found = sorted((PACKAGE / folder).rglob("*.py"))
    assert found, f"no modules in {folder}"
    return found


def imports(module: Path) -> set[str]:
    """Return the full dotted names that a module imports, wherever it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _origin(module, node)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def _origin(module: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join([*parts[: len(parts) - node.level], *filter(None, [node.module])])


def relative(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize("module", modules("wire"), ids=relative)
def test_wire_does_no_input_or_output(module: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(module)}
    assert not roots & INPUT_AND_OUTPUT


@pytest.mark.parametrize("module", modules("wire"), ids=relative)
def test_wire_depends_on_no_side(module: Path) -> None:
    ours = {name for name in imports(module) if name.startswith("hearthgate.")}
    allowed = ("hearthgate.wire", "hearthgate.errors")
    assert {name for name in ours if not name.startswith(allowed)} == set()


@pytest.mark.parametrize(("side", "other"), [("relay", "home"), ("home", "relay")])
def test_relay_and_home_never_import_each_other(side: str, other: str) -> None:
    forbidden = f"hearthgate.{other}"
    guilty = {
        relative(module): name
        for module in modules(side)
        for name in imports(module)
        if f"{name}.".startswith(f"{forbidden}.")
    }
    assert guilty == {}


def test_every_module_and_package_says_what_it_is() -> None:
    silent = [
        relative(module)
        for module in modules()
        if not ast.get_docstring(ast.parse(module.read_text()))
    ]
    assert silent == []


def test_the_unit_tests_are_the_same_tree_as_the_code() -> None:
    """So that the tests of a package are found by its name."""
    tests = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert folders <= {module.parent.relative_to(PACKAGE) for module in modules()}


def test_nothing_outside_the_unit_tests_depends_on_them() -> None:
    """What several kinds of tests share is in tests/support."""
    guilty = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if not path.is_relative_to(ROOT / "tests" / "unit")
        and any(name.startswith("tests.unit") for name in imports(path))
    }
    assert guilty == set()


def test_the_architecture_lists_every_package_and_module_as_it_is() -> None:
    """If this fails: python -m tests.tools.modules."""
    _, found, _ = module_list.parts(module_list.DOCUMENT.read_text())
    assert found == module_list.listing()
    packages = {
        f"hearthgate/{at.parent.relative_to(PACKAGE)}/"
        for at in PACKAGE.rglob("__init__.py")
    }
    packages = {name.replace("/./", "/") for name in packages}
    assert set(re.findall(r"^- \*\*`([^`]+)`", found, re.MULTILINE)) == packages


def test_what_the_architecture_says_is_somewhere_is_there() -> None:
    text = module_list.DOCUMENT.read_text()
    rows = re.findall(r"^\| .+ \| `([\w/]+\.py)` \| `([\w.]+)` \|$", text, re.MULTILINE)
    table = text.partition("## Where is …")[2].partition("## Modules")[0]
    assert len(rows) == table.count("\n| ") - 1
    missing = [
        f"{file}: {name}"
        for file, name in rows
        if not (PACKAGE / file).is_file()
        or name not in _definitions(ast.parse((PACKAGE / file).read_text()))
    ]
    assert missing == []


def _definitions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        elif isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from _definitions(node, f"{prefix}{node.name}.")


def test_our_documents_name_only_paths_that_are_there() -> None:
    missing = [
        f"{path}: {named}"
        for path, text in texts()
        if path.suffix == ".md" and path.name != "CHANGELOG.md"
        for named in re.findall(r"`((?:app|tests|docs|requirements)/[\w./-]+)`", text)
        if not (ROOT / named).exists()
    ]
    assert missing == []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {module.parent for module in modules()}
    assert [relative(at) for at in folders if not (at / "__init__.py").exists()] == []


def test_only_a_few_modules_touch_files_by_themselves() -> None:
    """Who goes past shared/storage may follow a link that a backup has brought."""
    guilty = {
        f"{name}: {call}"
        for module in modules()
        if (name := str(module.relative_to(PACKAGE))) not in TOUCH_FILES
        for call in _file_calls(ast.parse(module.read_text()))
    }
    assert guilty == set()


def _file_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open")):
                yield "open"
            case ast.Call(func=ast.Attribute(attr=name)) if name in TOUCHES:
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr=name)) if (
                name in {"open", "rename", "replace", "remove", "link", "symlink"}
            ):
                yield f"os.{name}"


@pytest.mark.parametrize("stem", ["config", "build", "repository"])
def test_the_add_on_store_finds_only_its_own_files(stem: str) -> None:
    """The Supervisor globs the whole tree; for build.* it enters dot-folders too."""
    hits = {
        str(path)
        for path in repository_files()
        if path.name.startswith(f"{stem}.")
        and path.suffix in STORE_SUFFIXES
        and (stem == "build" or not _is_skipped_by_the_store(path))
    }
    assert hits <= STORE_FILES.get(stem, set())


def _is_skipped_by_the_store(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "rootfs" for part in path.parts)


def test_every_limit_of_the_relay_is_explained_with_its_default() -> None:
    limits = importlib.import_module("hearthgate.relay.limits").Limits
    defaults = limits()
    documented = _rows("limits")
    assert {
        field.name: _as_written(field.name, getattr(defaults, field.name))
        for field in dataclasses.fields(limits)
    } == documented


def test_every_setting_of_the_home_is_explained() -> None:
    settings = importlib.import_module("hearthgate.home.settings").HomeSettings
    assert set(_rows("configuration")) >= set(_setting_names(settings))


def _rows(document: str) -> dict[str, str]:
    """Return the second column by the first, of the rows that start with a name."""
    text = (ROOT / "docs" / f"{document}.md").read_text()
    return dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+?) \|", text, re.MULTILINE))


def _as_written(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return f"{value / 1024:,.0f} KiB"
    return f"{value:,.0f} s" if name.endswith("_s") else f"{value:,}"


def _setting_names(settings: type, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(settings):
        if dataclasses.is_dataclass(field.default_factory):
            yield from _setting_names(field.default_factory, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_no_source_file_is_so_long_that_readers_get_lost() -> None:
    written = {".py", ".js", ".mjs", ".css", ".html", ".sh"}
    too_long = {
        str(path): lines
        for path, text in texts()
        if path.suffix in written and (lines := text.count("\n")) > MAX_LINES
    }
    assert too_long == {}


def test_no_file_names_a_private_place() -> None:
    """Neither folders of the machine it was written on, nor where packages come from.

    Locks in which a registry is written down work only where it can be reached.
    """
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path, text in texts()
        if path.name != "LICENSE"
        for number, line in enumerate(text.splitlines(), start=1)
        if PRIVATE_PLACES.search(line)
    ]
    assert found == []


def test_scripts_are_executable_and_nothing_else_is() -> None:
    for path in repository_files():
        with (ROOT / path).open("rb") as file:
            is_script = file.read(2) == b"#!"
        assert os.access(ROOT / path, os.X_OK) == is_script, path


def test_locks_pin_every_package_with_hashes() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        entries = re.split(r"\n(?=[a-z])", lock.read_text())[1:]
        assert entries, lock
        for entry in entries:
            assert re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S", entry), entry
            assert "--hash=sha256:" in entry, entry


def test_locks_cover_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for lock, wanted in {
        "runtime": project["dependencies"],
        "dev": [*project["dependencies"], *extras["dev"]],
        "bench": [*project["dependencies"], *extras["bench"]],
    }.items():
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        locked = set(re.findall(r"^([a-z0-9.-]+)(?:\[.*\])?==", text, re.MULTILINE))
        names = {re.split(r"[^\w.-]", need)[0].lower() for need in wanted}
        assert names <= locked


def test_the_package_is_made_with_the_setuptools_of_the_lock() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    lock = (ROOT / "requirements" / "dev.txt").read_text()
    assert wanted["requires"] == re.findall(r"^setuptools==\S+", lock, re.MULTILINE)


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    (from_package,) = project["tool"]["setuptools"]["dynamic"]["version"].values()
    assert from_package == "hearthgate.__version__"
    store = re.findall(
        r"^version: (.*)$", (ROOT / "config.yaml").read_text(), re.MULTILINE
    )
    changes = (ROOT / "CHANGELOG.md").read_text()
    newest = re.findall(r"^## \[?(\d+\.\d+\.\d+)", changes, re.MULTILINE)[0]
    assert [hearthgate.__version__] == store == [newest]


def test_one_command_sets_the_version_everywhere(tmp_path: Path) -> None:
    for name in (*VERSIONED, "CHANGELOG.md", "tests/tools/set_version"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    subprocess.run([tmp_path / "tests/tools/set_version", "9.8.7"], check=False)

    for name in VERSIONED:
        old = (ROOT / name).read_text()
        new = old.replace(hearthgate.__version__, "9.8.7", 1)
        assert (tmp_path / name).read_text() == new != old


def test_readme_and_ci_name_the_commands_that_work() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_links_between_our_documents_lead_somewhere() -> None:
    broken = [
        f"{path}: {target}"
        for path, text in texts()
        if path.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
        if not (ROOT / path.parent / target).exists()
    ]
    assert broken == []
