"""The calls of RFC 8555 and RFC 9773 that we make, on top of the acme library.

Adds `replaces` to a new order (RFC 9773 §5) and splits what acme does with sleeps into
single requests, so that the waiting happens in the event loop. Blocking: each method
is one to three requests, run in a thread.
"""

import datetime as dt
from typing import Any

from acme import errors as acme_errors
from acme import messages
from acme.client import ClientV2
from cryptography import x509
from josepy.json_util import field
import requests
import voluptuous as vol

from hearthgate.home.certificates.network import Network
from hearthgate.home.certificates.state import Window

# Server answers to `replaces` that mean: order again without it.
_REPLACES_REFUSED = frozenset({"alreadyReplaced", "malformed"})

_AUTHORIZATIONS_MAX = 4  # one per name, and we order one name


class NewOrder(messages.NewOrder):
    """A new order that may say which certificate it replaces."""

    replaces: str | None = field("replaces", omitempty=True)


class AnswerUnfitError(ValueError):
    """Raise if an answer lacks what RFC 8555 requires."""


def _unix(text: object) -> float:
    when = dt.datetime.fromisoformat(str(text))
    if when.tzinfo is None:
        raise vol.Invalid("time without zone")
    return when.timestamp()


_RENEWAL_INFO = vol.Schema(
    {
        vol.Required("suggestedWindow"): vol.Schema(
            {vol.Required("start"): _unix, vol.Required("end"): _unix},
            extra=vol.REMOVE_EXTRA,
        ),
        vol.Optional("explanationURL", default=None): vol.Any(None, str),
    },
    extra=vol.REMOVE_EXTRA,
)


def _order(response: requests.Response) -> messages.Order:
    order: messages.Order = messages.Order.from_json(response.json())
    return order


class Client(ClientV2):
    """One session with one authority."""

    net: Network

    @classmethod
    def open(cls, url: str, net: Network) -> "Client":
        """Fetch the directory."""
        directory = cls.get_directory(url, net)
        if not directory.to_partial_json().keys() >= {"newNonce", "newOrder"}:
            raise AnswerUnfitError("this is not an ACME directory")
        return cls(directory, net)

    @property
    def issuers(self) -> tuple[str, ...]:
        """Return the names that a CAA record may use; none if not told."""
        return tuple(self.directory.meta.caa_identities or ())

    @property
    def suggests_renewals(self) -> bool:
        """Return whether there is renewal information (RFC 9773 §4)."""
        return "renewalInfo" in self.directory.to_partial_json()

    def register(
        self, email: str | None, external_account: dict[str, Any] | None
    ) -> str:
        """Make an account, or find the one of this key; return its URL."""
        self.net.account = None  # this request alone is signed with the bare key
        wish = messages.NewRegistration.from_data(
            email=email,
            external_account_binding=external_account,
            terms_of_service_agreed=True,
        )
        try:
            return str(self.new_account(wish).uri)
        except acme_errors.ConflictError as err:
            return err.location

    def use_account(self, url: str) -> None:
        """Sign what follows with this account."""
        self.net.account = messages.RegistrationResource(
            body=messages.Registration(), uri=url
        )

    def order(
        self, hostname: str, *, profile: str | None, replaces: str | None
    ) -> messages.OrderResource:
        """Order a certificate for one hostname, and fetch its authorizations."""
        if replaces is None or not self.suggests_renewals:
            return self._order(hostname, profile, None)
        try:
            return self._order(hostname, profile, replaces)
        except acme_errors.ConflictError:
            pass  # acme makes this of every 409, which goes with alreadyReplaced
        except messages.Error as err:
            if str(err.typ).rsplit(":", maxsplit=1)[-1] not in _REPLACES_REFUSED:
                raise
        return self._order(hostname, profile, None)

    def authorization(self, url: str) -> messages.AuthorizationResource:
        """Fetch an authorization."""
        return self._authzr_from_response(self._post_as_get(url), uri=url)

    def finalize(
        self, order: messages.OrderResource, request: x509.CertificateSigningRequest
    ) -> messages.Order:
        """Hand in the request; return the order as it then is."""
        body = messages.CertificateRequest(csr=request)
        return _order(self._post(order.body.finalize, body))

    def order_now(self, order: messages.OrderResource) -> messages.Order:
        """Fetch an order."""
        return _order(self._post_as_get(order.uri))

    def certificate(self, url: str) -> str:
        """Download leaf and chain as PEM."""
        return self._post_as_get(url).text

    def renewal_window(self, renewal_id: str) -> Window:
        """Ask when a certificate should be renewed. Needs no account.

        acme's own renewal_time is not used: it chooses a new moment at each call and
        reads Retry-After as local time.
        """
        url = f"{self.directory['renewalInfo'].rstrip('/')}/{renewal_id}"
        try:
            info = _RENEWAL_INFO(self.net.get(url).json())
        except vol.Invalid as err:
            raise AnswerUnfitError(f"renewal information: {err}") from err
        window = info["suggestedWindow"]
        if window["end"] <= window["start"]:
            raise AnswerUnfitError("the suggested window ends before it starts")
        return Window(window["start"], window["end"], info["explanationURL"])

    def _order(
        self, hostname: str, profile: str | None, replaces: str | None
    ) -> messages.OrderResource:
        name = messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=hostname)
        wish = NewOrder(identifiers=(name,), profile=profile, replaces=replaces)
        response = self._post(self.directory["newOrder"], wish)
        body = _order(response)
        if not body.authorizations or not body.finalize:
            raise AnswerUnfitError("the order has no authorization")
        if len(body.authorizations) > _AUTHORIZATIONS_MAX:
            raise AnswerUnfitError("the order has too many authorizations")
        return messages.OrderResource(
            body=body,
            uri=response.headers["Location"],
            authorizations=tuple(self.authorization(x) for x in body.authorizations),
        )
