"""A test that never ends: one failed test, and a run that goes on to its end.

Runs pytest as `make test` does, with its settings and its way of spreading tests over
processes, on tests that hang in every way that they can. Only the limits are shorter.
"""

from pathlib import Path
import re
import subprocess
import sys
from textwrap import dedent
import tomllib

import pytest

from tests.tools import leaks

ROOT = Path(__file__).parents[2]
LIMITS = {"timeout": 3, "faulthandler_timeout": 12}
MARK = "HG_HUNG_TESTS"  # in the environment of all that the inner run starts
PATIENCE_S = 170.0  # a run that waits for ever is the failure

HUNG = {
    "loop": """
        def test_hangs():
            while True:
                pass
        """,
    "lock": """
        def test_hangs():
            threading.Event().wait()
        """,
    "event": """
        async def test_hangs():
            await asyncio.Event().wait()
        """,
    "child": """
        def test_hangs():
            subprocess.run(["sleep", "1000"])
        """,
    "task": """
        async def spin():
            while True:
                time.sleep(0.01)

        async def test_hangs():
            await asyncio.create_task(spin())
        """,
    "cleaning": """
        @pytest.fixture
        async def stubborn():
            yield
            while True:
                with contextlib.suppress(BaseException):
                    await asyncio.sleep(1000)

        async def test_hangs(stubborn):
            pass
        """,
    "masked": """
        def test_hangs():
            subprocess.Popen(["sleep", "1000"])
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(1000)
        """,
    "gone": """
        def test_hangs():
            os._exit(1)
        """,
}
FILE = """
import asyncio, contextlib, os, signal, subprocess, threading, time
import pytest
{hung}
def test_goes_on():
    pass
"""


@pytest.fixture
def hung(tmp_path: Path) -> Path:
    """Make a project of files that have one test that hangs, and one behind it."""
    for name, text in HUNG.items():
        test = tmp_path / f"test_{name}.py"
        test.write_text(FILE.format(hung=dedent(text)))
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    options = settings["tool"]["pytest"]["ini_options"] | LIMITS
    lines = [f"{name} = {options[name]}" for name in sorted(options) if name in KEPT]
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *lines]))
    return tmp_path


KEPT = {
    *("addopts", "asyncio_default_fixture_loop_scope", "asyncio_mode"),
    *("faulthandler_exit_on_timeout", "timeout_method", *LIMITS),
}


def _spread() -> list[str]:
    makefile = (ROOT / "Makefile").read_text()
    (options,) = re.findall(r"^SPREAD := (.*)$", makefile, re.MULTILINE)
    return str(options).split()


def test_a_test_that_hangs_is_one_failure_in_a_run_that_ends(hung: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "tests.conftest"]
    inner = subprocess.run(
        [*command, *_spread(), str(hung)],
        cwd=hung,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), MARK: "inner"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    said = inner.stdout
    names = {f"test_{name}.py" for name in HUNG}
    failed = re.findall(r"^(?:FAILED|ERROR) (\w+\.py)::test_hangs", said, re.MULTILINE)
    went_on = re.findall(r"^PASSED (\w+\.py)::test_goes_on", said, re.MULTILINE)
    assert sorted(failed) == sorted(names), said
    assert sorted(went_on) == sorted(names), said
    assert inner.returncode == 1, said
    assert leaks.marked({MARK: "inner"}) == {}
