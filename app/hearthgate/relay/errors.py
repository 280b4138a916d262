"""What can go wrong on a relay, in words for its owner or for a home that joins."""

from hearthgate.errors import HearthgateError


class InviteUnknownError(HearthgateError):
    """Raise if no invite has this secret."""

    code = "pairing_code_unknown"
    message = "The relay does not know this pairing code."
    hint = "It may have been revoked. Make a new one with: hearthgate relay invite"
    status = 403


class InviteUsedError(HearthgateError):
    """Raise if a code was used before."""

    code = "pairing_code_used"
    message = "This pairing code was used already, by the home {home}."
    hint = "A code works once. Make a new one with: hearthgate relay invite"
    status = 403


class InviteExpiredError(HearthgateError):
    """Raise if a code is too old by the relay's clock."""

    code = "pairing_code_expired"
    message = "This pairing code has expired."
    hint = "Make a new one on the relay with: hearthgate relay invite"
    status = 403


class CertificateRequestInvalidError(HearthgateError):
    """Raise if a home's certificate request cannot be signed."""

    code = "certificate_request_invalid"
    message = (
        "The home sent a certificate request that the relay cannot sign: {reason}."
    )
    hint = "Update Hearthgate on both sides."


class NameTakenError(HearthgateError):
    """Raise if a home's name is in use."""

    code = "name_taken"
    message = "There is a home with the name {name} already."
    hint = (
        "Choose another name, or revoke that home first: hearthgate relay revoke {name}"
    )
    status = 409


class NameInvalidError(HearthgateError):
    """Raise if a home's name cannot be used."""

    code = "name_invalid"
    message = "“{name}” cannot be a home's name."
    hint = "Use letters, digits and hyphens, 40 at most, such as cottage."


class DomainTakenError(HearthgateError):
    """Raise if a domain overlaps with what another home holds."""

    code = "domain_taken"
    message = "{domain} overlaps with {other}, which belongs to the home {home}."
    hint = "Give each home its own domain."
    status = 409


class DomainIsRelayError(HearthgateError):
    """Raise if a grant would cover the relay's own name."""

    code = "domain_is_relay"
    message = "{domain} covers {relay}, the relay's own name."
    hint = "Use another domain for the home, such as home.{domain}."
    status = 409


class PortsTakenError(HearthgateError):
    """Raise if ports overlap with what another home holds."""

    code = "ports_taken"
    message = (
        "{protocol} port {ports} overlaps with {other}, which belongs to the home "
        "{home}."
    )
    hint = "Choose other ports: hearthgate relay homes shows who holds which."
    status = 409


class PortsOutsideError(HearthgateError):
    """Raise if ports are outside what the relay gives away."""

    code = "ports_outside"
    message = (
        "This relay does not give away {protocol} port {ports}. It gives {allowed}."
    )
    hint = (
        "Choose ports in this range, or change forward_ports in the relay's settings."
    )
    status = 409


class HomeUnknownError(HearthgateError):
    """Raise if no home or unused code has this name."""

    code = "home_unknown"
    message = "There is no home with the name {name}."
    hint = "See the names with: hearthgate relay homes"
    status = 404


class TooManyError(HearthgateError):
    """Raise if a limit of the relay is reached."""

    code = "too_many"
    message = "The relay holds {limit} {what}, and no more."
    hint = "Remove some, or raise {setting} in the relay's settings."
    status = 429


class RequestInvalidError(HearthgateError):
    """Raise if a request's body is not what the protocol asks for."""

    code = "request_invalid"
    message = "The request is not understood: {reason}."
    hint = "Update Hearthgate on both sides."


class RelayAddressMissingError(HearthgateError):
    """Raise if a pairing code is to be made by a relay that does not know its name."""

    code = "relay_address_missing"
    message = "The relay does not know its public address."
    hint = "Set it, as in: hearthgate relay run --address relay.example.com"
