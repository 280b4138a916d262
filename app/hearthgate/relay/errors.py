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


class GrantTooLargeError(HearthgateError):
    """Raise if a home could not be told the whole of its grant."""

    code = "grant_too_large"
    message = (
        "A home can hold 1,000 domains of 56 KiB together and 200 ranges of ports of "
        "each kind, and no more."
    )
    hint = (
        "Grant a domain that is above several of the others, or a range instead of "
        "single ports."
    )
    status = 409


class HomeUnknownError(HearthgateError):
    """Raise if no home or unused code has this name."""

    code = "home_unknown"
    message = "There is no home with the name {name}."
    hint = "See the names with: hearthgate relay homes"
    status = 404


class PairingTooOftenError(HearthgateError):
    """Raise if one address tries to pair too often."""

    code = "pairing_too_often"
    message = "There were too many tries to pair from your address."
    hint = "Wait a minute, then try again."
    status = 429


class DomainPromisedError(HearthgateError):
    """Raise if a domain overlaps with what an unused pairing code allows."""

    code = "domain_promised"
    message = "{domain} overlaps with {other} of the unused pairing code for {name}."
    hint = "Use that code, or end it first with: hearthgate relay revoke {name}"
    status = 409


class KeyDamagedError(HearthgateError):
    """Raise if a key of the relay cannot be used."""

    code = "key_damaged"
    message = "The key file {path} cannot be used: {reason}."
    hint = (
        "Put it back from a backup. Without it every home has to be paired again: "
        "then delete the whole data folder."
    )


class NoRelayDataError(HearthgateError):
    """Raise if a folder holds nothing of a relay."""

    code = "no_relay_data"
    message = "There is no relay's data in {folder}."
    hint = "Give the relay's data folder with --data, or HEARTHGATE_DATA."


class SocketPathError(HearthgateError):
    """Raise if the owner's socket cannot be opened where it belongs."""

    code = "socket_path"
    message = "The relay cannot listen on {path}: {reason}."
    hint = "Choose a data folder with a path of at most 90 characters."


class RelaySocketForbiddenError(HearthgateError):
    """Raise if the running relay belongs to another user."""

    code = "relay_socket_forbidden"
    message = "Only the user who runs the relay may manage it."
    hint = "Run the command as that user, or as root."


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
