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
    """Raise if the relay said no, with its own words.

    `said` is the relay's own code of it, if it told one; its fields may be there, too.
    """

    code = "relay_refused"
    message = "{message}"
    hint = "{hint}"
    status = 409


class HomeForgottenError(RelayRefusedError):
    """Raise if a relay does not know the certificate of this home."""

    code = "home_forgotten"
    message = "The relay does not know this home any more."
    hint = "Ask the relay's owner for a new pairing code, and pair again."


class HomeRevokedError(RelayRefusedError):
    """Raise if the relay said that this home is no longer one of its own."""

    code = "home_revoked"
    message = "The relay's owner has removed this home."
    hint = "Ask for a new pairing code, and pair again."


class UpgradeRefusedError(RelayRefusedError):
    """Raise if a relay makes no control connection of our request."""

    code = "upgrade_refused"
    message = "The relay refused the connection (HTTP {answer})."
    hint = "Update Hearthgate on both sides."


class RelayCannotSealError(RelayRefusedError):
    """Raise if everything is to be sealed and the relay is too old for it."""

    code = "relay_cannot_seal"
    message = "This relay is too old to hide names on the way to it."
    hint = "Update Hearthgate on the relay, or switch tunnel.seal off."


class KeyUnreadableError(RelayRefusedError):
    """Raise if what this home shows to a relay is lost."""

    code = "relay_key_unreadable"
    message = "The key for this relay cannot be read."
    hint = "Forget the relay here and pair again ({reason})."


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


class RelayReplacedError(HearthgateError):
    """Raise if another process with this home's key is connected instead of us."""

    code = "relay_replaced"
    message = "Another Hearthgate has connected to the relay {relay} as this home."
    hint = (
        "Two of them have the same key, as after copying the data folder. Stop one, or "
        "forget the relay there and pair it with a new code. This one comes back by "
        "itself once the other is gone, and at once if you reconnect here."
    )
    status = 409


class HomeMovedError(HearthgateError):
    """Raise if another machine is this home now."""

    code = "home_moved"
    message = "Another machine is this home at the relay {relay} now."
    hint = (
        "A backup of this one was restored there, and what is public is decided there. "
        "Stop this one, or forget the relay here. If this machine is to be the home "
        "again, reconnect here; the other one then has to wait."
    )
    status = 409


class RelayMisbehavedError(HearthgateError):
    """Raise if the relay ended the session because of a limit or a broken rule."""

    code = "relay_misbehaved"
    message = (
        "The relay {relay} ended the session: this home broke a limit or a rule there."
    )
    hint = "Update Hearthgate on both sides. The log of the relay says which rule."
    status = 502


class RelayStoppingError(HearthgateError):
    """Raise if the relay said that it stops."""

    code = "relay_stopping"
    message = "The relay {relay} is being restarted, or was stopped."
    hint = "It comes back by itself once the relay runs again."
    status = 503


class TunnelBugError(HearthgateError):
    """Raise in place of an exception that nobody has thought of."""

    code = "tunnel_bug"
    message = "The way to the relay {relay} ended by a bug in Hearthgate ({reason})."
    hint = "It is tried again by itself. The log has more; please report it."
    status = 500


class PairingUncertainError(HearthgateError):
    """Raise if the relay was asked and its answer got lost."""

    code = "pairing_uncertain"
    message = "The connection to the relay {relay} ended before its answer: {reason}."
    hint = (
        "Try the same code again. If the relay says that it was used, ask its owner "
        "for a new one."
    )
    status = 502


class RelayTooOldError(HearthgateError):
    """Raise if a relay cannot forward ports yet."""

    code = "relay_too_old"
    message = "This relay is too old to forward ports."
    hint = "Update Hearthgate on the relay. It goes on by itself then."
    status = 409
