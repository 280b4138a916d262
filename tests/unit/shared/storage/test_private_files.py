"""Nothing of our own folder is opened, changed or removed through a link.

Each kind of thing that a backup can hold is put where each kind of ours belongs.
"""

from collections.abc import Callable
import fcntl
import os
from pathlib import Path
import socket
import stat

import pytest

from hearthgate.shared.storage.folders import (
    data_folder,
    fresh_folder,
    lock_folder,
    private_folder,
    remove_tree,
)
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    NotOursError,
    StateNotReadableError,
    StateNotWritableError,
    check_socket,
    clear_socket,
    read_capped,
    read_given,
    remove_file,
    rename,
    write_private,
)

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Give a folder outside of ours, with a file whose loss would be noticed."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    os.utime(folder / "precious", (1, 1))
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return data_folder(tmp_path / "data")


def untouched(elsewhere: Path) -> bool:
    precious = elsewhere / "precious"
    assert precious.read_text() == "precious"
    assert precious.stat().st_mtime == 1
    return [one.name for one in elsewhere.iterdir()] == ["precious"]


def link_to_file(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "precious")


def link_to_folder(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def link_to_nothing(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "new")


def link_to_itself(path: Path, _elsewhere: Path) -> None:
    path.symlink_to(path)


def pipe(path: Path, _elsewhere: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path, _elsewhere: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def folder(path: Path, _elsewhere: Path) -> None:
    path.mkdir()


def device(path: Path, _elsewhere: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # zero: has no end


def file(path: Path, _elsewhere: Path) -> None:
    path.write_text("mine")


Make = Callable[[Path, Path], None]
LINKS: list[Make] = [link_to_file, link_to_folder, link_to_nothing, link_to_itself]
NO_FILES = [
    *(pytest.param(one, "it is a symbolic link", id=one.__name__) for one in LINKS),
    pytest.param(pipe, "it is a named pipe", id="pipe"),
    pytest.param(bound_socket, "it is a socket", id="socket"),
    pytest.param(folder, "it is a folder", id="folder"),
    pytest.param(device, "it is a device", id="device", marks=ROOT_ONLY),
]


# --- files ----------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "why"), NO_FILES)
def test_only_regular_files_are_read(
    make: Make, why: str, ours: Path, elsewhere: Path
) -> None:
    make(ours / "state.yaml", elsewhere)
    with pytest.raises(NotAFileError, match=why):
        read_capped(ours / "state.yaml", 100)
    assert untouched(elsewhere)


def test_what_is_no_file_is_not_even_opened(
    ours: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening alone sets off a watchdog, or rewinds a tape."""
    pipe(ours / "machine", elsewhere)
    opened: list[object] = []
    real = os.open

    def watched(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        opened.append(path)
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", watched)
    with pytest.raises(NotAFileError):
        read_capped(ours / "machine", 100)
    assert opened == [ours]


def test_what_becomes_a_link_between_looking_and_opening_is_not_followed(
    ours: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_to_file(ours / "state.yaml", elsewhere)
    regular = (elsewhere / "precious").stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    with pytest.raises(NotAFileError, match="it is a symbolic link"):
        read_capped(ours / "state.yaml", 100)


def test_a_huge_file_is_refused_and_not_read_to_its_end(ours: Path) -> None:
    with (ours / "state.yaml").open("wb") as huge:
        huge.truncate(1 << 40)  # a terabyte, with nothing in it
    with pytest.raises(NotAFileError, match="more than the 100 bytes"):
        read_capped(ours / "state.yaml", 100)


def test_nothing_at_all_is_none(ours: Path) -> None:
    assert read_capped(ours / "state.yaml", 100) is None
    assert read_capped(ours / "no folder" / "state.yaml", 100) is None


def test_a_file_below_a_linked_folder_is_not_read(ours: Path, elsewhere: Path) -> None:
    link_to_folder(ours / "keys", elsewhere)
    with pytest.raises(NotOursError, match=r"keys is a symbolic link, where .* folder"):
        read_capped(ours / "keys" / "precious", 100)


def test_a_path_through_a_file_is_an_error_with_the_path(ours: Path) -> None:
    (ours / "keys").write_text("")
    with pytest.raises(NotOursError, match="keys is a file, where"):
        read_capped(ours / "keys" / "relay.key", 100)
    with pytest.raises(StateNotReadableError, match=r"relay\.key: Not a directory"):
        read_capped(ours / "keys" / "deeper" / "relay.key", 100)


def test_what_the_user_has_named_may_be_a_link(ours: Path, elsewhere: Path) -> None:
    """Kubernetes mounts every file of settings as one."""
    link_to_file(ours / "settings.yaml", elsewhere)
    assert read_given(ours / "settings.yaml", 100) == b"precious"
    link_to_nothing(ours / "gone.yaml", elsewhere)
    with pytest.raises(NotAFileError, match="it is a symbolic link to nothing"):
        read_given(ours / "gone.yaml", 100)
    pipe(ours / "pipe.yaml", elsewhere)
    with pytest.raises(NotAFileError, match="it is a named pipe"):
        read_given(ours / "pipe.yaml", 100)


@pytest.mark.parametrize("make", [*LINKS, pipe, bound_socket, file])
def test_writing_replaces_what_is_there_and_follows_nothing(
    make: Make, ours: Path, elsewhere: Path
) -> None:
    make(ours / "state.yaml", elsewhere)
    write_private(ours / "state.yaml", b"new")
    assert not (ours / "state.yaml").is_symlink()
    assert (ours / "state.yaml").read_bytes() == b"new"
    assert untouched(elsewhere)


def test_writing_over_a_second_name_of_a_file_leaves_the_other(
    ours: Path, elsewhere: Path
) -> None:
    (ours / "state.yaml").hardlink_to(elsewhere / "precious")
    write_private(ours / "state.yaml", b"new")
    assert untouched(elsewhere)


def test_writing_over_a_folder_says_so_and_leaves_it(ours: Path) -> None:
    (ours / "state.yaml").mkdir()
    with pytest.raises(StateNotWritableError, match=r"state\.yaml: Is a directory"):
        write_private(ours / "state.yaml", b"new")
    assert [one.name for one in ours.iterdir()] == ["state.yaml"]


def test_nothing_is_written_removed_or_renamed_below_a_linked_folder(
    ours: Path, elsewhere: Path
) -> None:
    link_to_folder(ours / "keys", elsewhere)
    inside = ours / "keys" / "precious"
    acts: list[Callable[[], None]] = [
        lambda: write_private(inside, b"new"),
        lambda: remove_file(inside),
        lambda: rename(inside, inside.with_name("kept")),
    ]
    for act in acts:
        with pytest.raises(NotOursError):
            act()
        assert untouched(elsewhere)


@pytest.mark.parametrize("make", LINKS)
def test_removing_and_renaming_a_link_leaves_what_it_leads_to(
    make: Make, ours: Path, elsewhere: Path
) -> None:
    make(ours / "state.yaml", elsewhere)
    rename(ours / "state.yaml", ours / "kept")
    assert (ours / "kept").is_symlink()
    remove_file(ours / "kept")
    assert list(ours.iterdir()) == []
    assert untouched(elsewhere)


def test_removing_what_is_not_there_is_fine(ours: Path) -> None:
    remove_file(ours / "state.yaml")
    remove_file(ours / "no folder" / "state.yaml")


# --- folders --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*LINKS, pipe, bound_socket, file])
def test_only_a_folder_is_taken_for_one(
    make: Make, ours: Path, elsewhere: Path
) -> None:
    make(ours / "edge", elsewhere)
    with pytest.raises(NotOursError, match=r"edge is a .*, where .* a folder of its"):
        private_folder(ours / "edge")
    assert untouched(elsewhere)


def test_the_users_own_folder_may_be_a_link_and_loses_it(
    tmp_path: Path, elsewhere: Path
) -> None:
    (tmp_path / "data").symlink_to(elsewhere)
    assert data_folder(tmp_path / "data") == elsewhere


@pytest.mark.parametrize("make", [link_to_itself, link_to_nothing, link_to_file, file])
def test_a_data_folder_that_is_none_is_named(
    make: Make, tmp_path: Path, elsewhere: Path
) -> None:
    make(tmp_path / "data", elsewhere)
    with pytest.raises((NotOursError, StateNotWritableError), match="/data"):
        data_folder(tmp_path / "data")
    assert untouched(elsewhere)


def test_a_folder_that_was_open_to_others_is_closed(ours: Path) -> None:
    (ours / "relays").mkdir()
    (ours / "relays").chmod(0o777)
    private_folder(ours / "relays")
    assert (ours / "relays").stat().st_mode & 0o777 == 0o700


def test_a_folder_with_links_is_removed_without_what_they_lead_to(
    ours: Path, elsewhere: Path
) -> None:
    seven = ours / "7"
    (seven / "inner" / "deeper").mkdir(parents=True)
    for number, make in enumerate([*LINKS, pipe, bound_socket]):
        make(seven / str(number), elsewhere)
        make(seven / "inner" / str(number), elsewhere)
    (seven / "inner" / "precious").hardlink_to(elsewhere / "precious")
    remove_tree(seven)
    assert list(ours.iterdir()) == []
    assert untouched(elsewhere)


@pytest.mark.parametrize("make", [*LINKS, pipe, bound_socket, file])
def test_removing_a_folder_that_is_none_removes_just_that(
    make: Make, ours: Path, elsewhere: Path
) -> None:
    make(ours / "7", elsewhere)
    remove_tree(ours / "7")
    assert list(ours.iterdir()) == []
    assert untouched(elsewhere)


def deep_folder(path: Path, depth: int) -> None:
    """Make a folder in a folder, and so on: deeper than any path may be long."""
    path.mkdir()
    at = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=at)
        below = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def test_folders_in_folders_without_end_are_removed_all_the_same(ours: Path) -> None:
    deep_folder(ours / "7", 5000)
    remove_tree(ours / "7")
    assert list(ours.iterdir()) == []


def test_a_fresh_folder_takes_the_place_of_a_link(ours: Path, elsewhere: Path) -> None:
    link_to_folder(ours / "1", elsewhere)
    fresh_folder(ours / "1", {"haproxy.cfg": b"global", "precious": b"key"})
    assert untouched(elsewhere)
    assert (ours / "1").lstat().st_mode & 0o777 == 0o700
    assert (ours / "1" / "precious").read_bytes() == b"key"
    assert (ours / "1" / "precious").stat().st_mode & 0o777 == 0o600


# --- the lock -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        *LINKS,
        pipe,
        bound_socket,
        folder,
        pytest.param(device, marks=ROOT_ONLY),
    ],
)
def test_a_lock_that_is_no_file_is_named_and_left(
    make: Make, ours: Path, elsewhere: Path
) -> None:
    make(ours / ".hearthgate.lock", elsewhere)
    with (
        pytest.raises(NotOursError, match=r"\.hearthgate\.lock is a .* a file of its"),
        lock_folder(ours),
    ):
        pytest.fail("it was taken for one")
    assert untouched(elsewhere)


def test_a_lock_with_a_second_name_elsewhere_is_not_written_to(
    ours: Path, elsewhere: Path
) -> None:
    (ours / ".hearthgate.lock").hardlink_to(elsewhere / "precious")
    with lock_folder(ours) as lock:
        assert untouched(elsewhere)
        with (
            (ours / ".hearthgate.lock").open() as other,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock >= 0


def test_cleaning_up_follows_no_link_and_no_depth(ours: Path, elsewhere: Path) -> None:
    left = elsewhere / ".state.yaml.0.hgtmp"
    left.write_text("somebody else's")
    link_to_folder(ours / "linked", elsewhere)
    link_to_folder(ours / ".link.hgtmp", elsewhere)
    deep_folder(ours / "deep", 3000)
    (ours / ".folder.hgtmp").mkdir()
    (ours / "certificates" / "ca" / "live").mkdir(parents=True)
    half = [
        ours / ".state.yaml.0.hgtmp",
        ours / "certificates" / "ca" / "live" / ".a.pem.0.hgtmp",
    ]
    for path in half:
        path.write_text("half")
    with lock_folder(ours):
        assert not any(path.exists() for path in half)
        assert sorted(one.name for one in ours.iterdir()) == [
            ".hearthgate.lock",
            "certificates",
            "deep",
            "linked",
        ]
    assert left.read_text() == "somebody else's"
    remove_tree(ours / "deep")  # pytest itself could not


# --- sockets --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*LINKS, pipe, folder, file])
def test_only_a_socket_is_removed_for_a_socket_or_connected_to(
    make: Make, ours: Path, elsewhere: Path
) -> None:
    make(ours / "agent.sock", elsewhere)
    for act in (check_socket, clear_socket):
        with pytest.raises(NotOursError, match=r"agent\.sock is a .*, where .* a sock"):
            act(ours / "agent.sock")
    assert os.path.lexists(ours / "agent.sock")
    assert untouched(elsewhere)


def test_a_link_to_a_socket_is_none(ours: Path, elsewhere: Path) -> None:
    bound_socket(elsewhere / "docker.sock", elsewhere)
    (ours / "agent.sock").symlink_to(elsewhere / "docker.sock")
    for act in (check_socket, clear_socket):
        with pytest.raises(NotOursError):
            act(ours / "agent.sock")
    assert (elsewhere / "docker.sock").is_socket()


def test_a_socket_of_before_makes_room(ours: Path, elsewhere: Path) -> None:
    bound_socket(ours / "agent.sock", elsewhere)
    assert check_socket(ours / "agent.sock")
    clear_socket(ours / "agent.sock")
    assert not check_socket(ours / "agent.sock")
    clear_socket(ours / "agent.sock")
