"""Set up the log of a process: a line per event that a person can read, or JSON.

    2026-11-22 12:00:00 INFO    relay.homes.sessions: cottage: Connected …

Goes to standard error. Whatever a message holds, it stays one line, and nothing in it
acts on a terminal (shared/terminal/visible.py): names and answers come from strangers.
Only a traceback has more lines, each of them indented. Holds no logger of its own;
every module has its own.
"""

from enum import StrEnum
import json
import logging
import sys
import time
from types import TracebackType

from hearthgate.shared.terminal.visible import (
    indented_lines,
    shortened,
    visible,
    visible_json,
    visible_lines,
)

_PACKAGE = "hearthgate."
PLAIN = "hearthgate.plain"  # several lines whose shape matters, such as a QR code

# Our own longest, a refusal of HAProxy, is about 2,000 characters. A traceback through
# several task groups is about 20,000.
_MESSAGE_MAX = 8_000
_TRACEBACK_MAX = 60_000


class LogFormat(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important lines that are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TextFormatter(logging.Formatter):
    """Write an event as one line, and its traceback as indented ones below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.default_msec_format = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines."""
        if record.name == PLAIN:
            return visible_lines(record.getMessage())
        shown = logging.makeLogRecord(record.__dict__)
        shown.name = record.name.removeprefix(_PACKAGE)
        shown.msg, shown.args = _message(record), None
        shown.exc_text = None  # another formatter may have left its own
        return super().format(shown)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's)
        """Return the first line, whatever a library calls its logger."""
        return visible(super().formatMessage(record))

    def formatException(  # noqa: N802 (logging's)
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Return the traceback, which quotes whatever the exception was about."""
        return indented_lines(shortened(super().formatException(ei), _TRACEBACK_MAX))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 (logging's)
        """Return the stack, indented as a traceback is."""
        return indented_lines(stack_info)


class JsonFormatter(logging.Formatter):
    """Write an event as one line of JSON, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix(_PACKAGE),
            "message": shortened(record.getMessage(), _MESSAGE_MAX),
        }
        if record.exc_info:
            found = self.formatException(record.exc_info)
            line["traceback"] = shortened(found, _TRACEBACK_MAX)
        return visible_json(json.dumps(line, ensure_ascii=False))


def _message(record: logging.LogRecord) -> str:
    return visible(shortened(record.getMessage(), _MESSAGE_MAX))


def set_up_log(level: LogLevel, style: LogFormat) -> None:
    """Send this process's log to standard error. Call once, at the start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if style is LogFormat.JSON else TextFormatter()
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries speak up only when something is wrong
    logging.getLogger("hearthgate").setLevel(level.upper())
    logging.getLogger(PLAIN).setLevel(logging.INFO)  # shown once, at every level
    logging.captureWarnings(True)  # noqa: FBT003  the logging module's own name
    sys.excepthook = _crashed


def _crashed(
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Say by the log why the process ends: Python itself would print it as it is."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("hearthgate").critical(
        "Ended by a mistake in Hearthgate", exc_info=(kind, error, traceback)
    )
