from collections.abc import Callable, Iterator
import contextlib
from pathlib import Path
import socket
import threading

import pytest

from hearthgate.shared.process import health


@contextlib.contextmanager
def answering(at: Path, answer: bytes | None) -> Iterator[list[bytes]]:
    """Take one connection; answer it, or say nothing while the test runs."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))
        listener.listen()

        def serve() -> None:
            taken, _ = listener.accept()
            with taken:
                heard.append(taken.recv(4096))
                if answer is not None:
                    taken.sendall(answer)
                else:
                    done.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            done.set()
            thread.join()


def test_a_process_that_answers_is_well(tmp_path: Path) -> None:
    at = tmp_path / "s"
    with answering(at, b"HTTP/1.1 204 No Content\r\n\r\n") as heard:
        assert health.ask(at, "/health") is None
    assert heard[0].startswith(b"GET /health HTTP/1.1\r\n")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Oh\r\n\r\n", b"", b"SSH-2.0-x\r\n"])
def test_a_process_that_answers_something_else_is_not_well(
    tmp_path: Path, answer: bytes
) -> None:
    at = tmp_path / "s"
    with answering(at, answer):
        assert "answered" in (health.ask(at, "/health") or "")


def test_a_process_that_says_nothing_is_not_well(tmp_path: Path) -> None:
    at = tmp_path / "s"
    with answering(at, None):
        problem = health.ask(at, "/health", deadline_s=0.05)
    assert "did not answer" in (problem or "")


def _left_by_a_process_that_died(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))


@pytest.mark.parametrize(
    ("leave", "says"),
    [
        (lambda _: None, "nothing is running with the data folder {folder}"),
        (
            _left_by_a_process_that_died,
            "nothing is running with the data folder {folder}",
        ),
        (Path.touch, "{folder}/s is not a socket"),
    ],
    ids=["nothing", "dead", "no socket"],
)
def test_that_nobody_is_there_is_said_in_words_and_by_the_exit_status(
    tmp_path: Path,
    leave: Callable[[Path], object],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = tmp_path / "s"
    leave(at)
    assert health.main([str(at), "/health"]) == 1
    assert capsys.readouterr().err == f"{says.format(folder=tmp_path)}\n"
