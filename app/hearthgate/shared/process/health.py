"""Ask whether a relay or a home on this machine does its work: `python -m` this file.

    HEALTHCHECK ──GET──▶ relay.sock or agent.sock of a data folder ──▶ exit 0 or 1

A container engine asks twice a minute, for years, also on a small board. So this uses
the standard library alone: a tenth of the time that the `hearthgate` command needs.

Says only that the process answers. Whether a relay can be reached from outside, or a
home its relay, is none of its business: restarting would mend neither.
"""

from pathlib import Path
import socket
import stat
import sys

# A loop that is busy for longer than this would keep visitors waiting as well.
DEADLINE_S = 5.0
_ANSWER_MAX_BYTES = 4096
_REQUEST = "GET {path} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n"


def ask(at: Path, path: str, *, deadline_s: float = DEADLINE_S) -> str | None:
    """Return what is wrong with the process behind a socket; None: nothing. Blocking.

    path: where it answers 2xx while it is well.
    """
    try:
        if not stat.S_ISSOCK(at.lstat().st_mode):  # a link leads to somebody else's
            return f"{at} is not a socket"
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(deadline_s)
            asked.connect(str(at))
            asked.sendall(_REQUEST.format(path=path).encode())
            answer = asked.recv(_ANSWER_MAX_BYTES)
    except TimeoutError:
        return f"{at} did not answer within {deadline_s:g} seconds"
    except (FileNotFoundError, ConnectionRefusedError):
        return f"nothing is running with the data folder {at.parent}"
    except OSError as err:
        return f"{at}: {err.strerror or err}"
    status = answer.split(b" ", 2)[1:2]
    if status and status[0].startswith(b"2"):
        return None
    return f"{at} answered {answer[:60]!r}"


def main(arguments: list[str]) -> int:
    """Take socket and path; return the exit status. Tells why on standard error."""
    problem = ask(Path(arguments[0]), arguments[1])
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
    return 0 if problem is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
