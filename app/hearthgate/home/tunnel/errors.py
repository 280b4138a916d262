"""What can go wrong between home and relay, in the user's words."""

from hearthgate.errors import HearthgateError


class RelayUnreachableError(HearthgateError):
    """Raise if no connection to the relay comes about."""

    code = "relay_unreachable"
    message = "The relay {relay} does not answer: {reason}."
    hint = (
        "Check that the relay is running, that its firewall lets port 443 in, and that "
        "this home is online."
    )
    status = 502


class RelayKeyError(HearthgateError):
    """Raise if a relay shows another key than the pairing code promised."""

    code = "relay_key"
    message = "What answers at {relay} is not the relay of your pairing code."
    hint = (
        "Either the address leads to another machine now, or somebody is in between. "
        "If you have set up the relay anew, forget it here and pair again."
    )
    status = 502


class RelayRefusedError(HearthgateError):
    """Raise if the relay said no, with its own words."""

    code = "relay_refused"
    message = "{message}"
    hint = "{hint}"
    status = 409


class RelayAnswerError(HearthgateError):
    """Raise if a relay's answer breaks the protocol."""

    code = "relay_answer"
    message = "The relay {relay} gave an answer that makes no sense: {reason}."
    hint = "Update Hearthgate on both sides."
    status = 502


class RelayAwayError(HearthgateError):
    """Raise if something needs a relay that is not connected."""

    code = "relay_away"
    message = "The relay is not connected right now."
    hint = "It comes back by itself. The state of the relay says why it is away."
    status = 503
