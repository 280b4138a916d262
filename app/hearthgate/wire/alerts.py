"""The TLS alerts that the relay may send before any handshake (RFC 8446 §6).

An unencrypted alert record is all that a visitor can be told: the relay holds no
certificate for a published hostname.
"""

from enum import IntEnum


class Alert(IntEnum):
    """Alert descriptions, RFC 8446 §6.2 and RFC 7301 §3.2."""

    INTERNAL_ERROR = 80
    UNRECOGNIZED_NAME = 112
    NO_APPLICATION_PROTOCOL = 120


def alert_record(alert: Alert) -> bytes:
    """Return a fatal alert as one record of seven bytes."""
    return bytes((21, 3, 3, 0, 2, 2, alert))
