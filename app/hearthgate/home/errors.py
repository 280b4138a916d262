"""What a user can wish for that a home cannot do."""

from hearthgate.errors import HearthgateError


class ServiceUnknownError(HearthgateError):
    """Raise if there is no service with an id."""

    code = "service_unknown"
    message = "There is no such service here."
    hint = (
        "It may have been removed meanwhile. The page shows which there are, and so "
        "does: hearthgate home status"
    )
    status = 404


class ServiceNotManualError(HearthgateError):
    """Raise if a discovered service is to be edited or removed."""

    code = "service_not_manual"
    message = "{name} was discovered; only services added by hand can be changed."
    hint = "Add it by hand if you want another name or address for it."
    status = 409


class ServicesFullError(HearthgateError):
    """Raise if no more services can be kept."""

    code = "services_full"
    message = "There are {limit} services already, and no room for more."
    hint = "Remove services that you no longer need."
    status = 409


class ExposuresFullError(HearthgateError):
    """Raise if no more exposures can be kept."""

    code = "exposures_full"
    message = "There is no room for more than {limit} services with a hostname."
    hint = "Remove services that you no longer need."
    status = 409


class RelaysFullError(HearthgateError):
    """Raise if no more relays can be kept."""

    code = "relays_full"
    message = "This home has {limit} relays already, and no room for more."
    hint = "Forget a relay that you no longer need. The pairing code was not used."
    status = 409


class RelayUnknownError(HearthgateError):
    """Raise if there is no relay with an id."""

    code = "relay_unknown"
    message = "This relay is not there any more."
    hint = "Load the page again."
    status = 404


class RelayForgottenError(HearthgateError):
    """Raise if an exposure names a relay that this home has not joined."""

    code = "relay_forgotten"
    message = "This home has not joined the relay that the hostname belongs to."
    hint = "Pair with that relay again, or switch off and on to choose another one."
    status = 409


class NoRelayError(HearthgateError):
    """Raise if something is to be exposed and no relay is paired."""

    code = "no_relay"
    message = "There is no relay yet, so nothing can be put on the Internet."
    hint = "Pair a relay first, with the code that it prints."
    status = 409


class NoHostnameError(HearthgateError):
    """Raise if no hostname was given and none can be suggested."""

    code = "no_hostname"
    message = (
        "A hostname is needed, and the relay has not said yet which ones it allows."
    )
    hint = "Give one, or try again once the relay is connected."
    status = 409


class HostnameNotGrantedError(HearthgateError):
    """Raise if a hostname is outside what the relay grants."""

    code = "hostname_not_granted"
    message = "The relay does not let your home use {hostname}. It allows {allowed}."
    hint = "Choose a name below one of these, such as photos.{first}."
    status = 409


class NothingGrantedError(HostnameNotGrantedError):
    """Raise if a relay grants no hostname at all."""

    code = "nothing_granted"
    message = "The relay lets your home use no hostname, so {hostname} neither."
    hint = "Ask the relay's owner for a pairing code with a domain."


class HostnameInUseError(HearthgateError):
    """Raise if another exposure has a hostname."""

    code = "hostname_in_use"
    message = "{hostname} is used by {name} already."
    hint = "Choose another name."
    status = 409


class NoPortError(HearthgateError):
    """Raise if no public port was given and none can be suggested."""

    code = "no_port"
    message = "The relay grants your home no {protocol} port that is free."
    hint = "Its owner can grant some: hearthgate relay grant {home} --{flag} {port}"
    status = 409


class PortNotGrantedError(HearthgateError):
    """Raise if a public port is outside what the relay grants."""

    code = "port_not_granted"
    message = "The relay does not let your home use {protocol} port {port}."
    hint = "It allows {allowed}. Its owner can grant more: hearthgate relay grant"
    status = 409


class PortInUseError(HearthgateError):
    """Raise if another exposure has a public port."""

    code = "port_in_use"
    message = "{protocol} port {port} is used by {name} already."
    hint = "Choose another port."
    status = 409


class NoProxyProtocolError(HearthgateError):
    """Raise if a UDP service is to be told visitors' addresses."""

    code = "no_proxy_protocol"
    message = "{name} is a UDP service, which can't be told visitors' addresses."
    hint = "Leave that switched off. Services with tcp, http and https can be told."
    status = 409


class KindFixedError(HearthgateError):
    """Raise if an exposed service is to become one of another kind."""

    code = "kind_fixed"
    message = "{name} cannot change between a web address, tcp and udp."
    hint = "Add it as another service, and remove this one."
    status = 409


class NotSeenFromOutsideError(HearthgateError):
    """Raise if the way through the relay does not end at our own edge."""

    code = "not_seen_from_outside"
    message = (
        "{hostname} is switched on, but a visit through the relay failed: {reason}."
    )
    hint = "The log of the relay says more. It is tried again by itself."
    status = 502


class ExposureBugError(HearthgateError):
    """Raise in place of an exception that nobody has thought of."""

    code = "exposure_bug"
    message = "Switching was ended by a bug in Hearthgate ({reason})."
    hint = "It is tried again by itself. The log has more; please report it."
    status = 500


class SwitchNotAllowedError(HearthgateError):
    """Raise if Home Assistant is to switch what nobody has let it switch."""

    code = "switch_not_allowed"
    message = "Home Assistant may not switch {name}."
    hint = (
        "Allow it in the menu of {name} on Hearthgate's page, and turn {name} on there "
        "once."
    )
    status = 403


class PartFailedError(HearthgateError):
    """Raise in place of an exception that ended a part which may fail alone."""

    code = "part_failed"
    message = "{part} has stopped because of an error in Hearthgate ({reason})."
    hint = (
        "Everything else goes on, and it is tried again by itself. The log has more; "
        "please report it."
    )
    status = 500
