"""Make what a relay says fit for its reader, whatever its settings and grants are.

    published, forwarded   shorter sentences; if the names alone are too many: refused
    welcome, granted       the first domains and ranges that fit
    need                   as many channels as a reader takes

The reader ends the session over a message that is too long or has a number that is too
high, and would do so again in each session after that. So what is told is cut, and
never what is meant: a grant is the relay's own knowledge, not what it has told of it.
"""

from collections.abc import Mapping
from dataclasses import replace
import json

from hearthgate.wire.constants import CONTROL_MESSAGE_MAX_BYTES
from hearthgate.wire.messages import (
    CHANNELS_MAX,
    HOSTNAMES_MAX,
    RANGES_MAX,
    REASON_MAX,
    REFUSED_MAX,
    SERIAL_MAX,
    Forwarded,
    Granted,
    Message,
    Need,
    Published,
    Refused,
    Welcome,
    write_message,
)
from hearthgate.wire.ports import Ports

# Of a grant, in its message: the rest of a welcome takes less than 3 KiB, and both
# protocols' ranges less than 5.
GRANT_MAX_BYTES = 56 * 1024
_CUT = "..."


def fitted(message: Message) -> Message:
    """Return a message that its reader accepts, the same one if it is fit already."""
    match message:
        case Need():
            return Need(
                min(message.count, CHANNELS_MAX), min(message.stale_before, SERIAL_MAX)
            )
        case Welcome() | Granted():
            return _with_less_of_the_grant(message)
        case Published() | Forwarded():
            return _with_shorter_sentences(message)
        case _:
            return message


def grant_fits(domains: tuple[str, ...], ports: Ports) -> bool:
    """Tell whether a home can be told the whole of a grant."""
    whole = Granted(domains, ports.tcp, ports.udp)
    return _with_less_of_the_grant(whole) == whole


def fitted_domains(domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first domains of a grant, as many as fit."""
    return _first_that_fit(domains[:HOSTNAMES_MAX], GRANT_MAX_BYTES)


def _with_less_of_the_grant(message: Welcome | Granted) -> Message:
    domains = fitted_domains(message.domains)
    tcp, udp = message.tcp[:RANGES_MAX], message.udp[:RANGES_MAX]
    if isinstance(message, Welcome):
        channels = min(message.channels_max, CHANNELS_MAX)
        return replace(
            message, domains=domains, tcp=tcp, udp=udp, channels_max=channels
        )
    return replace(message, domains=domains, tcp=tcp, udp=udp)


def _first_that_fit(domains: tuple[str, ...], room: int) -> tuple[str, ...]:
    for count, domain in enumerate(domains):
        room -= len(domain) + len('"",')
        if room < 0:
            return domains[:count]
    return domains


def _with_shorter_sentences(message: Published | Forwarded) -> Message:
    refused = message.refused
    whole = replace(message, refused=_cut(refused, REASON_MAX))
    if len(refused) <= REFUSED_MAX and _size(whole) <= CONTROL_MESSAGE_MAX_BYTES:
        return whole
    bare = replace(message, refused=dict.fromkeys(refused, ""))
    room = (CONTROL_MESSAGE_MAX_BYTES - _size(bare)) // max(1, len(refused))
    if len(refused) <= REFUSED_MAX and room >= len(_CUT):
        return replace(message, refused=_cut(refused, min(room, REASON_MAX)))
    count, first = len(refused), next(iter(refused.values()))[:REASON_MAX]
    if isinstance(message, Published):
        return Refused(
            message.id,
            "too_many_hostnames",
            f"This relay refuses {count} of your hostnames, the first one because: "
            f"{first}",
        )
    return Refused(
        message.id,
        "too_many_forwards",
        f"This relay refuses {count} of your forwards, the first one because: {first}",
    )


def _size(message: Message) -> int:
    return len(write_message(message))


def _cut(refused: Mapping[str, str], most: int) -> dict[str, str]:
    return {name: _shortened(why, most) for name, why in refused.items()}


def _shortened(sentence: str, most: int) -> str:
    """Return as much of a sentence as fits into so many bytes of JSON."""
    if len(json.dumps(sentence)) - len('""') <= most:
        return sentence
    kept = sentence[: most - len(_CUT)]
    while len(json.dumps(kept)) - len('""') > most - len(_CUT):
        kept = kept[: len(kept) * 3 // 4]
    return kept + _CUT
