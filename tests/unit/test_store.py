"""The store: what is written is read back, and nothing is ever lost on the way."""

from collections.abc import Callable
import contextlib
import os
from pathlib import Path
import stat
import subprocess
import sys
import textwrap
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import pytest
import voluptuous as vol

from hearthgate.plain_yaml import PlainYamlError, dump_yaml, parse_yaml
from hearthgate.store import (
    STATE_MAX_BYTES,
    DataFolderInUseError,
    StateFromFutureError,
    StateNotReadableError,
    StateNotWritableError,
    StateTooLargeError,
    YamlStore,
    lock_folder,
    private_folder,
    write_private,
)

Value = tuple[str, ...]
Migrations = dict[int, Callable[[dict[str, Any]], dict[str, Any]]]


def store_at(
    folder: Path, *, version: int = 1, migrations: Migrations | None = None
) -> YamlStore[Value]:
    return YamlStore(
        folder / "state.yaml",
        version=version,
        schema=vol.Schema({vol.Required("names"): [str]}),
        load=lambda data: tuple(data["names"]),
        dump=lambda value: {"names": list(value)},
        empty=tuple,
        migrations=migrations or {},
        clock=lambda: 0.0,
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_first_start_is_empty_and_writes_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    assert store.read() == ()
    assert store.damage is None
    assert names_in(tmp_path) == set()


def test_what_is_written_is_read_back_by_the_next_process(tmp_path: Path) -> None:
    store_at(tmp_path).write(("Müller", "2026-01-01", "on", "1:30", "null", ""))
    assert store_at(tmp_path).read() == (
        "Müller",
        "2026-01-01",
        "on",
        "1:30",
        "null",
        "",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=30), max_size=5).map(tuple))
def test_any_text_survives(tmp_path: Path, value: Value) -> None:
    store_at(tmp_path).write(value)
    assert store_at(tmp_path).read() == value


LINE_BREAKS = st.text(alphabet="\x85\u2028\u2029\r\n\t a'\"#:-", max_size=12)


@settings(max_examples=500)
@given(st.dictionaries(st.text(), st.lists(LINE_BREAKS | st.text()), max_size=4))
def test_any_text_survives_being_yaml(data: dict[str, list[str]]) -> None:
    """PyYAML alone turns U+0085 into two blanks, without a word."""
    assert parse_yaml(dump_yaml(data).encode()) == data


def test_the_file_is_for_humans_and_says_what_it_is(tmp_path: Path) -> None:
    store_at(tmp_path).write(("lamp",))
    text = (tmp_path / "state.yaml").read_text()
    assert text.startswith("# Written by Hearthgate: state, version 1.")
    assert "\nversion: 1\nnames:\n- lamp\n...\n" in text


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_it_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        store_at(tmp_path).write(("lamp",))
    finally:
        os.umask(before)
    for name in ("state.yaml", "state.good.yaml"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    store_at(tmp_path).write(("lamp",))
    assert names_in(tmp_path) == {"state.yaml", "state.good.yaml"}


def test_the_same_list_twice_is_written_without_aliases(tmp_path: Path) -> None:
    shared = ["lamp"]
    store: YamlStore[dict[str, Any]] = YamlStore(
        tmp_path / "state.yaml",
        version=1,
        schema=vol.Schema({"a": [str], "b": [str]}),
        load=dict,
        dump=lambda value: value,
        empty=dict,
        migrations={},
    )
    store.write({"a": shared, "b": shared})
    assert store.read() == {"a": ["lamp"], "b": ["lamp"]}


def test_a_value_that_its_own_schema_refuses_never_reaches_the_disk(
    tmp_path: Path,
) -> None:
    store = store_at(tmp_path)
    store.write(("good",))
    with pytest.raises(vol.Invalid):
        store.write((7,))  # type: ignore[arg-type]
    assert store_at(tmp_path).read() == ("good",)


def test_a_state_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.write(("good",))
    with pytest.raises(StateTooLargeError):
        store.write(("x" * STATE_MAX_BYTES,))
    assert store_at(tmp_path).read() == ("good",)


# --- versions ------------------------------------------------------------------------


def test_an_older_file_goes_through_every_step_in_order(tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_text("version: 1\nname: lamp\n")
    store = store_at(
        tmp_path,
        version=3,
        migrations={
            1: lambda data: {"names": data["name"]},
            2: lambda data: {"names": [data["names"]]},
        },
    )
    assert store.read() == ("lamp",)


def test_the_older_file_is_kept_before_the_first_write(tmp_path: Path) -> None:
    old = "version: 1\nname: lamp\n"
    (tmp_path / "state.yaml").write_text(old)
    store = store_at(
        tmp_path, version=2, migrations={1: lambda data: {"names": [data["name"]]}}
    )
    store.write((*store.read(), "fan"))
    assert (tmp_path / "state.yaml.version-1").read_text() == old
    assert store_at(tmp_path, version=2, migrations={1: lambda data: data}).read() == (
        "lamp",
        "fan",
    )


def test_a_migration_that_meets_nonsense_is_damage_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_text("version: 1\nother: 3\n")
    store = store_at(
        tmp_path, version=2, migrations={1: lambda data: {"names": [data["name"]]}}
    )
    assert store.read() == ()
    assert store.damage is not None
    assert "version 1 to 2" in store.damage.reason


def test_a_gap_in_the_migrations_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="migrations 1 to 2"):
        store_at(tmp_path, version=3, migrations={1: lambda data: data})


def test_a_file_of_the_future_is_left_alone_and_refused(tmp_path: Path) -> None:
    text = "version: 7\nsomething: new\n"
    (tmp_path / "state.yaml").write_text(text)
    with pytest.raises(StateFromFutureError, match="version 7") as caught:
        store_at(tmp_path).read()
    assert "version 7" in caught.value.advice
    assert names_in(tmp_path) == {"state.yaml"}
    assert (tmp_path / "state.yaml").read_text() == text


def test_a_copy_of_the_future_is_kept_when_the_user_put_an_old_file_back(
    tmp_path: Path,
) -> None:
    future = "version: 7\nsomething: new\n"
    (tmp_path / "state.good.yaml").write_text(future)
    (tmp_path / "state.yaml").write_text("version: 1\nnames: [lamp]\n")
    assert store_at(tmp_path).read() == ("lamp",)
    kept = [path for path in tmp_path.iterdir() if path.read_text() == future]
    assert len(kept) == 1


# --- damage --------------------------------------------------------------------------

LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (n, n, *[n - 1] * 8)
    for n in range(ord("b"), ord("k"))
)
DAMAGED = {
    "empty": b"",
    "only zeros": bytes(4096),
    "truncated": b"version: 1\nnames:\n- la\n- 'fa",
    "cut before the version": b"# Hearthgate state\n",
    "not UTF-8": b"version: 1\nnames: [\xff]\n",
    "UTF-16": "version: 1\nnames: [lamp]\n".encode("utf-16"),
    "a list": b"- version: 1\n",
    "a word": b"version",
    "no version": b"names: [lamp]\n",
    "version as text": b'version: "1"\nnames: []\n',
    "version true": b"version: true\nnames: []\n",
    "version zero": b"version: 0\nnames: []\n",
    "version negative": b"version: -1\nnames: []\n",
    "version a fraction": b"version: 1.0\nnames: []\n",
    "wrong type": b"version: 1\nnames: lamp\n",
    "wrong type inside": b"version: 1\nnames: [[lamp]]\n",
    "unknown key": b"version: 1\nnames: []\nother: 1\n",
    "a key twice": b"version: 1\nnames: [a]\nnames: [b]\n",
    "alias": b"version: 1\nnames: [&a lamp, *a]\n",
    "billion laughs": LAUGHS,
    "python object": b"version: 1\nnames: [!!python/object/apply:os.getcwd []]\n",
    "a tag": b"version: 1\nnames: [!!str 5]\n",
    "an impossible date": b"version: 1\nnames: [2026-99-99]\n",
    "a list as key": b"version: 1\n? [a]\n: b\n",
    "two documents": b"version: 1\nnames: []\n---\nversion: 1\n",
    "too large": b"version: 1\nnames: []\n#" + b"x" * STATE_MAX_BYTES,
    "nested without end": b"version: 1\nnames: " + b"[" * 20_000,
    "a number without end": b"version: " + b"9" * 10_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_set_aside_and_the_last_good_copy_used(
    tmp_path: Path, content: bytes
) -> None:
    store_at(tmp_path).write(("lamp",))
    (tmp_path / "state.yaml").write_bytes(content)
    store = store_at(tmp_path)
    assert store.read() == ("lamp",)
    kept = tmp_path / "state.yaml.damaged-19700101T000000Z"
    assert kept.read_bytes() == content
    assert store.damage is not None
    assert store.damage.kept_as == kept
    assert store.damage.used_instead == tmp_path / "state.good.yaml"
    assert store.damage.reason


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_without_a_copy_is_kept_through_the_next_write(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "state.yaml").write_bytes(content)
    store = store_at(tmp_path)
    assert store.read() == ()
    store.write(("new",))
    kept = tmp_path / "state.yaml.damaged-19700101T000000Z"
    assert kept.read_bytes() == content
    assert store_at(tmp_path).read() == ("new",)


def test_every_prefix_of_a_file_gives_the_file_or_its_copy(tmp_path: Path) -> None:
    store_at(tmp_path).write(("lamp", "fan"))
    whole = (tmp_path / "state.yaml").read_bytes()
    good = (tmp_path / "state.good.yaml").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "state.yaml").write_bytes(whole[:end])
        (tmp_path / "state.good.yaml").write_bytes(good)
        assert store_at(tmp_path).read() == ("lamp", "fan")


def test_a_file_written_by_hand_needs_no_end(tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_text("# mine\nversion: 1\nnames: [lamp]\n")
    assert store_at(tmp_path).read() == ("lamp",)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_mapping_or_refused(raw: bytes) -> None:
    with contextlib.suppress(PlainYamlError):
        assert isinstance(parse_yaml(raw), dict)


def test_damage_twice_in_a_second_keeps_both(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        (tmp_path / "state.yaml").write_bytes(content)
        store_at(tmp_path).read()
    kept = sorted(tmp_path.glob("state.yaml.damaged-*"))
    assert {path.read_bytes() for path in kept} == {b"first", b"second"}


def test_both_damaged_keeps_both_and_starts_empty(tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_bytes(b"one")
    (tmp_path / "state.good.yaml").write_bytes(b"two")
    store = store_at(tmp_path)
    assert store.read() == ()
    store.write(("new",))
    kept = {path.read_bytes() for path in tmp_path.glob("*.damaged-*")}
    assert kept == {b"one", b"two"}


def test_a_missing_file_is_replaced_by_its_copy(tmp_path: Path) -> None:
    store_at(tmp_path).write(("lamp",))
    (tmp_path / "state.yaml").unlink()
    assert store_at(tmp_path).read() == ("lamp",)


def test_an_edited_file_becomes_the_good_copy(tmp_path: Path) -> None:
    store_at(tmp_path).write(("lamp",))
    (tmp_path / "state.yaml").write_text("version: 1\nnames: [lamp, edited]\n")
    store_at(tmp_path).read()
    (tmp_path / "state.yaml").write_text("rubbish")
    assert store_at(tmp_path).read() == ("lamp", "edited")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize(
    "make",
    [make_loop, make_dangling, Path.mkdir, os.mkfifo],
    ids=lambda one: one.__name__,
)
def test_what_is_no_file_is_set_aside_as_well(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    store_at(tmp_path).write(("lamp",))
    (tmp_path / "state.yaml").unlink()
    make(tmp_path / "state.yaml")
    store = store_at(tmp_path)
    assert store.read() == ("lamp",)
    store.write(("lamp", "fan"))
    assert store_at(tmp_path).read() == ("lamp", "fan")
    assert os.path.lexists(tmp_path / "state.yaml.damaged-19700101T000000Z")


# --- the disk ------------------------------------------------------------------------

MOUNTED = """
    import os, pathlib, subprocess, sys
    from tests.unit.test_store import store_at
    from hearthgate.store import StateNotWritableError
    folder = pathlib.Path(sys.argv[1])
    def mount(*options):
        subprocess.run(["mount", *options, str(folder)], check=True)
"""


def in_own_mounts(folder: Path, script: str) -> str:
    """Run a script that may mount over folder without anybody else seeing it."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            sys.executable,
            "-c",
            textwrap.dedent(MOUNTED) + textwrap.dedent(script),
            str(folder),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    out = in_own_mounts(
        tmp_path,
        """
        mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
        store = store_at(folder)
        store.write(("lamp",))
        before = sorted(path.name for path in folder.iterdir())
        (folder / "filler").touch()
        try:
            with (folder / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
        except OSError:
            pass
        try:
            store.write(("lamp", "fan"))
        except StateNotWritableError as err:
            print(err)
        assert store_at(folder).read() == ("lamp",)
        (folder / "filler").unlink()
        assert sorted(path.name for path in folder.iterdir()) == before
        store.write(("lamp", "fan"))
        assert store_at(folder).read() == ("lamp", "fan")
        """,
    )
    assert "No space left on device" in out
    assert "state.yaml" in out


def test_a_disk_that_takes_one_file_but_not_its_copy_changes_nothing(
    tmp_path: Path,
) -> None:
    out = in_own_mounts(
        tmp_path,
        """
        mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
        store = store_at(folder)
        store.write(("lamp",))
        before = sorted(path.name for path in folder.iterdir())
        try:
            store.write(("x" * 30_000,))
        except StateNotWritableError:
            print("refused")
        assert sorted(path.name for path in folder.iterdir()) == before
        assert store_at(folder).read() == ("lamp",)
        """,
    )
    assert "refused" in out


def test_content_and_then_name_are_on_the_disk_before_a_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test cuts the power; this one looks at the order of the calls."""
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("sync folder" if folder else "sync file")
        sync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_private(tmp_path / "key.pem", b"key")
    assert calls == ["sync file", "rename", "sync folder"]


def test_a_read_only_disk_can_be_read_and_refuses_to_be_written(tmp_path: Path) -> None:
    store_at(tmp_path).write(("lamp",))
    out = in_own_mounts(
        tmp_path,
        """
        mount("--bind", str(folder))
        mount("-o", "remount,ro,bind")
        store = store_at(folder)
        assert store.read() == ("lamp",)
        try:
            store.write(("fan",))
        except StateNotWritableError as err:
            print(err)
        assert store.read() == ("lamp",)
        """,
    )
    assert "Read-only file system" in out


def test_damage_on_a_read_only_disk_uses_the_copy_and_is_set_aside_later(
    tmp_path: Path,
) -> None:
    store_at(tmp_path).write(("lamp",))
    (tmp_path / "state.yaml").write_bytes(b"rubbish")
    in_own_mounts(
        tmp_path,
        """
        mount("--bind", str(folder))
        mount("-o", "remount,ro,bind")
        store = store_at(folder)
        assert store.read() == ("lamp",)
        assert store.damage.kept_as is None
        try:
            store.write(("fan",))
        except StateNotWritableError as err:
            print(err)
        mount("-o", "remount,rw,bind")
        store.write(("fan",))
        """,
    )
    assert store_at(tmp_path).read() == ("fan",)
    kept = list(tmp_path.glob("*.damaged-*"))
    assert [path.read_bytes() for path in kept] == [b"rubbish"]


def test_a_file_that_may_not_be_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting it aside would start empty because of a wrong owner."""
    store_at(tmp_path).write(("lamp",))

    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    store = store_at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)  # root may read everything
        with pytest.raises(StateNotReadableError):
            store.read()
    assert names_in(tmp_path) == {"state.yaml", "state.good.yaml"}


def test_a_missing_folder_is_told_and_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(StateNotWritableError, match="No such file"):
        store_at(tmp_path / "gone").write(("lamp",))


# --- private files and the lock ------------------------------------------------------


def test_a_private_file_replaces_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    link = tmp_path / "key.pem"
    link.symlink_to(target)
    write_private(link, b"ours")
    assert target.read_bytes() == b"theirs"
    assert link.read_bytes() == b"ours"
    assert not link.is_symlink()


def test_a_private_folder_is_for_its_owner(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "relays" / "cottage")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert private_folder(folder) == folder


def test_a_private_folder_below_a_file_is_an_error_with_its_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateNotWritableError, match=r"Not a directory|File exists"):
        private_folder(tmp_path / "file" / "folder")


def test_two_processes_do_not_own_the_same_folder(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from hearthgate.store import lock_folder, DataFolderInUseError\n"
        "try:\n"
        "    with lock_folder(pathlib.Path(sys.argv[1])): print('owned')\n"
        "except DataFolderInUseError as err: print(err)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with lock_folder(tmp_path):
        out = subprocess.check_output(command, text=True, timeout=60)
        assert f"process {os.getpid()}" in out
    assert subprocess.check_output(command, text=True, timeout=60) == "owned\n"


def test_a_store_locks_its_own_folder(tmp_path: Path) -> None:
    with (
        store_at(tmp_path).lock(),
        pytest.raises(DataFolderInUseError),
        lock_folder(tmp_path),
    ):
        pass


def test_a_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, time\n"
        "from hearthgate.store import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])):\n"
        "    print('owned', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"owned\n"
        owner.kill()
    with lock_folder(tmp_path):
        pass


def test_the_new_owner_sweeps_what_a_killed_one_left_half_written(
    tmp_path: Path,
) -> None:
    left = tmp_path / "relays" / f".key.pem.{'0' * 16}.hgtmp"
    left.parent.mkdir()
    left.write_bytes(b"half a k")
    (tmp_path / ".bashrc").write_bytes(b"theirs")
    with lock_folder(tmp_path):
        assert not left.exists()
    assert (tmp_path / ".bashrc").exists()


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """Kills a process that writes as fast as it can, a few times."""
    script = (
        "import sys, pathlib\n"
        "from tests.unit.test_store import store_at\n"
        "store = store_at(pathlib.Path(sys.argv[1]))\n"
        "print('go', flush=True)\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    store.write((str(n) * 2000, str(n)))\n"
    )
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"go\n"
            while not (tmp_path / "state.good.yaml").exists():
                assert writer.poll() is None
            writer.kill()
        store = store_at(tmp_path)
        value = store.read()
        assert store.damage is None
        assert value[0] == value[1] * 2000
