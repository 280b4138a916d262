"""The pairing code: one line, single use, that joins a home to a relay.

    HG1-XXXXX-XXXXX-…     base 32 (RFC 4648 §6) in groups of five, upper case

    length 2 | expiry 4 | secret 16 | fingerprint 32 | port 2 | host 1…253 | CRC-32 4

The length comes first so that a cut-off code is told apart from a mistyped one, and the
checksum covers everything before it. The base 32 alphabet has neither 0 nor 1 nor 8, so
that what people type for O, I and B can be mended. Layout: docs/protocol.md §2.
"""

import base64
import binascii
import contextlib
from dataclasses import dataclass, field
import re
import struct

from hearthgate.errors import HearthgateError
from hearthgate.wire.constants import FINGERPRINT_BYTES, PAIRING_SECRET_BYTES
from hearthgate.wire.names import AddressInvalidError, format_address, parse_address

_PREFIX = "HG1"
_GROUP = 5
_HEAD = struct.Struct(f"!HI{PAIRING_SECRET_BYTES}s{FINGERPRINT_BYTES}sH")
EXPIRY_MAX = (1 << 32) - 1  # Unix time: in the year 2106
_CHECKSUM_BYTES = 4
_SIZE_MAX = _HEAD.size + 253 + _CHECKSUM_BYTES  # the longest name, RFC 1035 §2.3.4
_LENGTH_CHARACTERS = 4  # 20 bits, of which the first 16 are the length
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CHANGED = "at least one character is different"
_TEXT_MAX = 700  # the longest code is 616 characters, hyphens included
_MENDED = str.maketrans("018", "OIB")
_NOISE = re.compile(r"[\s\-\u2013\u2014]+")  # also the dashes that editors put in


class PairingCodeError(HearthgateError):
    """Raise a subclass of this if a text is no usable pairing code."""

    hint = (
        "Copy the whole line that begins with HG1- from the relay, and paste it here."
    )


class PairingCodeWrongError(PairingCodeError):
    """Raise if a text is no pairing code at all."""

    code = "pairing_code_wrong"
    message = "This is not a pairing code: a pairing code begins with HG1-."


class PairingCodeTruncatedError(PairingCodeError):
    """Raise if the end of a pairing code is missing."""

    code = "pairing_code_truncated"
    message = "This pairing code is cut off: {missing} characters are missing."


class PairingCodeMistypedError(PairingCodeError):
    """Raise if a pairing code has characters that were changed or added."""

    code = "pairing_code_mistyped"
    message = "This pairing code has a typing mistake: {reason}."


class PairingCodeExpiredError(PairingCodeError):
    """Raise if a pairing code is too old."""

    code = "pairing_code_expired"
    message = "This pairing code has expired."
    hint = "Make a new one on the relay with: hearthgate relay invite"


@dataclass(frozen=True, slots=True)
class PairingCode:
    """What a home needs to join a relay."""

    host: str  # the relay's hostname or IP address
    port: int
    fingerprint: bytes  # SHA-256 of the relay's SubjectPublicKeyInfo
    secret: bytes = field(repr=False)  # one time, 128 bits
    expires: int  # Unix time in seconds

    @property
    def address(self) -> str:
        """The relay's address as a person writes it."""
        return format_address(self.host, self.port)


def write_pairing_code(code: PairingCode) -> str:
    """Return the code as the one line that a person copies."""
    host = code.host.encode("ascii")
    size = _HEAD.size + len(host) + _CHECKSUM_BYTES
    head = _HEAD.pack(size, code.expires, code.secret, code.fingerprint, code.port)
    body = head + host
    data = body + binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")
    text = _encode(data)
    groups = [text[at : at + _GROUP] for at in range(0, len(text), _GROUP)]
    return "-".join((_PREFIX, *groups))


def read_pairing_code(text: str) -> PairingCode:
    """Return what a pairing code says. Case, spaces and hyphens do not matter.

    Raises PairingCodeWrongError, PairingCodeTruncatedError or PairingCodeMistypedError.
    Does not look at the expiry: the relay decides, by its own clock.
    """
    compact = _NOISE.sub("", text[: 2 * _TEXT_MAX]).upper()
    if not compact.startswith(_PREFIX):
        raise PairingCodeWrongError
    body = compact.removeprefix(_PREFIX).translate(_MENDED)
    if len(body) > _TEXT_MAX:
        raise PairingCodeMistypedError(reason="it is too long")
    expected = _expected_characters(body)
    if len(body) < expected:
        if _is_whole_but_for_its_length(body):
            raise PairingCodeMistypedError(reason=_CHANGED)
        raise PairingCodeTruncatedError(missing=expected - len(body))
    if len(body) > expected:
        raise PairingCodeMistypedError(reason="something was added to it")
    data = _decode(body)
    # Bits that the last character has to spare are no place to hide a mistake.
    if _encode(data) != body or not _is_whole(data):
        raise PairingCodeMistypedError(reason=_CHANGED)
    return _unpack(data)


def _encode(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=")


def _decode(body: str) -> bytes:
    try:
        return base64.b32decode(body + "=" * (-len(body) % 8))
    except ValueError as err:  # also if there are letters beyond ASCII
        raise PairingCodeMistypedError(
            reason="it has characters that are in no pairing code"
        ) from err


def _expected_characters(body: str) -> int:
    """Return how long the whole code is, from the length in its first two bytes."""
    least = _characters(_HEAD.size + 1 + _CHECKSUM_BYTES)
    if len(body) < _LENGTH_CHARACTERS:
        return least
    length = int.from_bytes(_decode(body[:_LENGTH_CHARACTERS])[:2], "big")
    if length > _SIZE_MAX:
        raise PairingCodeMistypedError(reason=_CHANGED)
    return max(_characters(length), least)


def _characters(size: int) -> int:
    return -(-size * 8 // 5)


def _is_whole(data: bytes) -> bool:
    """Tell whether data has the length that it says, and fits its checksum."""
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    return (
        int.from_bytes(data[:2], "big") == len(data)
        and binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "big") == checksum
    )


def _is_whole_but_for_its_length(body: str) -> bool:
    """Tell whether a code only looks cut off, for a mistake in its length."""
    for at in range(_LENGTH_CHARACTERS):
        for other in _ALPHABET:
            changed = body[:at] + other + body[at + 1 :]
            with contextlib.suppress(PairingCodeMistypedError):
                if _is_whole(_decode(changed)):
                    return True
    return False


def _unpack(data: bytes) -> PairingCode:
    body = data[:-_CHECKSUM_BYTES]
    _, expires, secret, fingerprint, port = _HEAD.unpack_from(body)
    try:
        host, port = parse_address(
            format_address(body[_HEAD.size :].decode("ascii"), port)
        )
    except (AddressInvalidError, UnicodeDecodeError) as err:
        raise PairingCodeMistypedError(reason="its address is unreadable") from err
    return PairingCode(host, port, fingerprint, secret, expires)
