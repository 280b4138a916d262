"""Set up the log of a process: a line per event that a person can read, or JSON.

    2026-11-22 12:00:00 INFO    relay.sessions: cottage: Connected …

Goes to standard error. Holds no logger of its own; every module has its own.
"""

from enum import StrEnum
import json
import logging
import sys
import time

_PACKAGE = "hearthgate."
PLAIN = "hearthgate.plain"  # several lines whose shape matters, such as a QR code


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


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.default_msec_format = ""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == PLAIN:
            return record.getMessage()
        shown = logging.makeLogRecord(record.__dict__)
        shown.name = record.name.removeprefix(_PACKAGE)
        return super().format(shown)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix(_PACKAGE),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_log(level: LogLevel, style: LogFormat) -> None:
    """Send this process's log to standard error. Call once, at the start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style is LogFormat.JSON else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries speak up only when something is wrong
    logging.getLogger("hearthgate").setLevel(level.upper())
    logging.getLogger(PLAIN).setLevel(logging.INFO)  # shown once, at every level
    logging.captureWarnings(True)  # noqa: FBT003  the logging module's own name
