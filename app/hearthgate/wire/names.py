"""Hostnames and addresses in the one spelling that is compared.

    as typed ──normalise_hostname──▶ A-labels ──show_hostname──▶ as people read it
    as stored or sent ──fold_hostname──┘

A hostname is compared as lower-case A-labels without a trailing dot (RFC 5890 §2.3.2.1,
RFC 1034 §3.1). Everything that enters is brought to that spelling once; behind the door
names are compared with `==`.

What people type is read by IDNA 2008 (RFC 5891) after the mapping of UTS 46, without
its transitional part: `straße` stays itself, as in all browsers. Version 0.1.0 read by
IDNA 2003, which allowed more, emoji for one; names in A-labels that are stored or come
from the other side are therefore not judged again.
"""

from collections.abc import Iterator
import ipaddress
import re
import unicodedata

import idna

from hearthgate.errors import HearthgateError
from hearthgate.wire.constants import DEFAULT_RELAY_PORT

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123 §2.1
# Underscores are no hostname (RFC 952), but many a NAS has one.
_LOOSE_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# inet_aton() takes 127.1, 0x7f.1 and 2130706433 for addresses; we take them for errors.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LABEL_MAX = 63  # octets, RFC 1035 §2.3.4; and so of code points before encoding
HOSTNAME_MAX = 253  # likewise, without the trailing dot
_TYPED_MAX = 1024  # code points; some are mapped to fewer
_PORT_MAX = 65535
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
# Written together with each other and with Latin; any other two scripts in a label are
# more often a trick than a name.
_MIXED_SCRIPTS = frozenset(
    {"CJK", "HANGUL", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}
)
_NO_DNS = "a part of it cannot be written in DNS"


class HostnameInvalidError(HearthgateError):
    """Raise if a text is no hostname that can stand in a certificate."""

    code = "hostname_invalid"
    message = "“{text}” is not a hostname: {reason}."
    hint = "A hostname looks like photos.home.example.com."


class AddressInvalidError(HearthgateError):
    """Raise if a text is no host with an optional port."""

    code = "address_invalid"
    message = "“{text}” is not an address: {reason}."
    hint = "An address looks like relay.example.com or 203.0.113.5:443."


def normalise_hostname(text: str) -> str:
    """Return a hostname that somebody typed, in the spelling that is compared.

    Folds case, strips one trailing dot and turns U-labels into A-labels; A-labels have
    to stand for a valid name too. Raises HostnameInvalidError for what IDNA 2008 does
    not allow and for what a public certificate could not name: an IP address, a single
    label, an empty or overlong label.
    """
    typed = text.strip()
    if typed.isascii() and "xn--" not in typed.lower():
        return fold_hostname(typed)
    return fold_hostname(_to_ascii(typed, text), text)


def fold_hostname(text: str, typed: str | None = None) -> str:
    """Return a hostname of A-labels in the spelling that is compared.

    For what was read before, by whatever rules: state and messages of the protocol.
    Raises HostnameInvalidError, which quotes what was typed.
    """
    name = text.strip().lower().removesuffix(".")
    reason = _fault(name)
    if reason:
        raise HostnameInvalidError(text=(typed or text)[:80], reason=reason)
    return name


def normalise_host(text: str) -> str:
    """Return the name of a machine at home, which need not be a public hostname.

    It may be a single label and have underscores. Raises HostnameInvalidError.
    """
    name = text.strip().removesuffix(".")
    if not name.isascii():
        if name.lower().endswith(".local"):
            reason = "names that end in .local have no spelling that all programs know"
            raise HostnameInvalidError(text=text[:80], reason=reason)
        name = _to_ascii(name, text)
    name = name.lower()
    labels = name.split(".")
    bad = next((label for label in labels if not _LOOSE_LABEL.fullmatch(label)), None)
    if len(name) > HOSTNAME_MAX or bad is not None:
        raise HostnameInvalidError(
            text=text[:80], reason="it has no valid host name or address"
        )
    if _NUMBER.fullmatch(labels[-1]):
        reason = "it looks like an IP address, but is none"
        raise HostnameInvalidError(text=text[:80], reason=reason)
    return name


def show_hostname(name: str) -> str:
    """Return a normalised hostname as people read it.

    A label that IDNA 2008 does not allow stays as it is, so that what is shown can
    always be typed, and so does one of letters that look like others beside them.
    """
    if "xn--" not in name:
        return name
    shown = ".".join(map(_shown_label, name.split(".")))
    try:
        return shown if normalise_hostname(shown) == name else name
    except HostnameInvalidError:
        return name


def describe_hostname(name: str) -> str:
    """Return a normalised hostname with its A-labels behind it, where they differ."""
    shown = show_hostname(name)
    return name if shown == name else f"{shown} ({name})"


def _shown_label(label: str) -> str:
    shown = _u_label(label)
    letters = [char for char in shown if unicodedata.category(char).startswith("L")]
    scripts = {unicodedata.name(char, "?").split(" ")[0] for char in letters}
    return shown if len(scripts - _MIXED_SCRIPTS) <= 1 else label


def _u_label(label: str) -> str:
    try:
        return idna.ulabel(label) if label.startswith("xn--") else label
    except (idna.IDNAError, UnicodeError):
        return label


def _to_ascii(typed: str, text: str) -> str:
    """Return A-labels for a name with U-labels or A-labels in it."""
    if len(typed) > _TYPED_MAX:
        reason = f"it is longer than {HOSTNAME_MAX} characters"
        raise HostnameInvalidError(text=text[:80], reason=reason)
    try:
        mapped = idna.uts46_remap(typed, std3_rules=False, transitional=False)
        labels = mapped.removesuffix(".").split(".")
        _check_directions(labels)
        return ".".join(_a_labels(labels, text))
    except idna.IDNABidiError as err:
        reason = "it mixes writing from the left and from the right"
        raise HostnameInvalidError(text=text[:80], reason=reason) from err
    except (idna.IDNAError, UnicodeError) as err:
        raise HostnameInvalidError(text=text[:80], reason=_NO_DNS) from err


def _a_labels(labels: list[str], text: str) -> Iterator[str]:
    for label in labels:
        if len(label) > _LABEL_MAX:  # the rules take time by the square of it
            reason = f"“{label[:70]}” is longer than {_LABEL_MAX} characters in DNS"
            raise HostnameInvalidError(text=text[:80], reason=reason)
        if label.isascii() and not label.startswith("xn--"):
            yield label  # judged as a whole later
            continue
        try:
            encoded = idna.alabel(label).decode("ascii")
            if idna.ulabel(encoded) == label or encoded == label:
                yield encoded
                continue
        except idna.IDNABidiError:
            raise
        except (idna.IDNAError, UnicodeError) as err:
            raise HostnameInvalidError(
                text=text[:80], reason=_label_fault(label, err)
            ) from err
        raise HostnameInvalidError(text=text[:80], reason=_label_fault(label))


def _label_fault(label: str, err: Exception | None = None) -> str:
    if label.startswith("xn--"):
        return f"“{label}” stands for no name"
    if isinstance(err, idna.InvalidCodepoint | idna.InvalidCodepointContext):
        return f"“{label}” has characters that no hostname may have"
    if "too long" in str(err):
        return f"“{label}” is longer than {_LABEL_MAX} characters in DNS"
    return _NO_DNS


def _check_directions(labels: list[str]) -> None:
    """Check the rule for names of which any label is read from the right (RFC 5893 §2).

    The library checks such labels, but not that the others fit beside them.
    """
    plain = [_u_label(label) for label in labels]
    if any(_is_right_to_left(label) for label in plain):
        for label in plain:
            idna.check_bidi(label[:_LABEL_MAX], check_ltr=True)


def _is_right_to_left(label: str) -> bool:
    return any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in label)


def _fault(name: str) -> str:
    """Say why a name could not stand in a certificate; empty if it could."""
    labels = name[: _TYPED_MAX * 2].split(".")
    bad = next((label for label in labels if not _LABEL.fullmatch(label)), None)
    faults = {
        "it is empty": not name,
        f"it is longer than {HOSTNAME_MAX} characters": len(name) > HOSTNAME_MAX,
        "it is an IP address": is_ip(name),
        "it has no dot": len(labels) == 1,
        "it has an empty part between two dots": bad == "",
        f"“{str(bad)[:70]}” may only have letters, digits and hyphens": bad is not None,
        "its last part is a number": labels[-1].isdigit(),
    }
    return next((reason for reason, applies in faults.items() if applies), "")


def is_ip(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_below(hostname: str, domain: str) -> bool:
    """Tell whether a hostname is a domain or a name below it; both normalised."""
    return hostname == domain or hostname.endswith("." + domain)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of a relay's address; the port defaults to 443.

    Takes a hostname, an IPv4 address, an IPv6 address in brackets or bare.
    Raises AddressInvalidError.
    """
    rest = text.strip()
    if is_ip(rest):
        return str(ipaddress.ip_address(rest)), DEFAULT_RELAY_PORT
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or not is_ip(host) or (tail and not tail.startswith(":")):
            raise AddressInvalidError(
                text=text[:80], reason="the brackets do not match"
            )
        return str(ipaddress.ip_address(host)), _port(tail[1:], text)
    host, _, port = rest.partition(":")
    if is_ip(host):
        return host, _port(port, text)
    if host.lower() == "localhost":
        return "localhost", _port(port, text)
    try:
        # What is in A-labels already has to be found in DNS, so it is not judged.
        name = fold_hostname(host) if host.isascii() else normalise_hostname(host)
        return name, _port(port, text)
    except HostnameInvalidError as err:
        raise AddressInvalidError(
            text=text[:80], reason=str(err.fields["reason"])
        ) from err


def _port(digits: str, text: str) -> int:
    if not digits:
        return DEFAULT_RELAY_PORT
    if digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= _PORT_MAX:
        return int(digits[:6])
    raise AddressInvalidError(
        text=text[:80], reason=f"the port must be a number from 1 to {_PORT_MAX}"
    )


def format_address(host: str, port: int) -> str:
    """Return host and port as one text, IPv6 in brackets, port 443 left out."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == DEFAULT_RELAY_PORT else f"{shown}:{port}"
