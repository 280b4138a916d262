"""Why a hostname has no certificate, one class per cause.

`retry_at` (Unix time) is set if the authority itself said when to come back; then not
even the user may ask earlier.
"""

from hearthgate.errors import HearthgateError


class CertificateError(HearthgateError):
    """Raise a subclass of this if a certificate could not be obtained."""

    code = "certificate"
    message = "There is no certificate for {hostname}."
    status = 502

    def __init__(self, *, retry_at: float | None = None, **fields: object) -> None:
        """Keep the fields, and the moment before which the authority wants silence."""
        super().__init__(**fields)
        self.retry_at = retry_at


class HostnameUnusableError(CertificateError):
    """Raise if a hostname cannot be in a certificate that is proven over HTTP."""

    code = "hostname_unusable"
    message = "{hostname} is not a hostname that can get a certificate."
    hint = "Use a complete name such as home.example.com, without a wildcard."
    status = 400


# --- the domain's DNS ---


class DnsError(CertificateError):
    """Raise a subclass of this if the DNS records of a hostname stand in the way."""

    code = "dns"


class NoRecordError(DnsError):
    """Raise if a hostname has no address at all."""

    code = "dns_no_record"
    message = "{hostname} has no address in the DNS yet."
    hint = (
        "At the DNS provider of your domain, add: {records}. A new record can take "
        "some minutes to be seen."
    )


class PointsElsewhereError(DnsError):
    """Raise if no address of a hostname is the relay's."""

    code = "dns_points_elsewhere"
    message = "{hostname} points to {found}, not to your relay ({expected})."
    hint = (
        "Change the record to: {records}. If your DNS provider offers to be a proxy "
        "in front of it, switch that off."
    )


class AlsoElsewhereError(DnsError):
    """Raise if only some of the IPv4 addresses of a hostname are the relay's."""

    code = "dns_also_elsewhere"
    message = "{hostname} points to your relay, but also to {found}."
    hint = "Remove the other record: visitors and the authority may end up there."


class ForeignIPv6Error(DnsError):
    """Raise if the IPv4 address is right and an IPv6 address is not the relay's."""

    code = "dns_foreign_ipv6"
    message = "{hostname} has the IPv6 address {found}, which is not your relay's."
    hint = (
        "Remove that AAAA record, or set it to your relay's IPv6 address. Authorities "
        "and many visitors try IPv6 first."
    )


class CaaForbidsError(DnsError):
    """Raise if a CAA record keeps this authority from issuing (RFC 8659)."""

    code = "dns_caa"
    message = "A CAA record of {domain} forbids this certificate: {record}."
    hint = 'Add the record: {domain} CAA 0 issue "{issuer}".'


# --- the authority ---


class CaUnreachableError(CertificateError):
    """Raise if no connection to the authority can be made."""

    code = "ca_unreachable"
    message = "The certificate authority {authority} can't be reached: {reason}."
    hint = "Check your home's Internet connection and DNS. Hearthgate tries again."


class CaSlowError(CertificateError):
    """Raise if the authority did not answer, or did not decide, in time."""

    code = "ca_slow"
    message = "The certificate authority {authority} takes too long ({waited})."
    hint = "Nothing is wrong at your side. Hearthgate tries again."


class CaTlsError(CertificateError):
    """Raise if the authority's own TLS certificate does not verify."""

    code = "ca_tls"
    message = "{authority} could not prove who it is: {reason}."
    hint = (
        "Something between your home and the Internet may be reading TLS, or the "
        "trust root of a private authority is not the right one."
    )


class ClockWrongError(CertificateError):
    """Raise if dates in certificates cannot be true at the time of our clock."""

    code = "clock_wrong"
    message = "A certificate is out of its time: {reason}. The clock here says {now}."
    hint = "If that time is wrong, set the clock of this machine."


class CaRefusesError(CertificateError):
    """Raise if the authority said no. Carries its own words."""

    code = "ca_refuses"
    message = "{authority} refused: {problem}"
    hint = "Hearthgate tries again, each time a little later."


class RateLimitedError(CertificateError):
    """Raise if the authority had too many requests, of us or for this domain."""

    code = "ca_rate_limited"
    message = "{authority} wants a pause{until}: {problem}"
    hint = "Asking earlier does not help. Hearthgate tries again by itself."
    status = 429


class PauseError(CertificateError):
    """Raise if somebody asks before the time that the authority named.

    With the words of what went wrong then; `said` is its code, its fields are there.
    """

    code = "ca_pause"
    message = "{message}"
    hint = "{hint}"
    status = 429


class CaBusyError(CertificateError):
    """Raise if the authority reports a fault of its own."""

    code = "ca_busy"
    message = "{authority} has a problem of its own: {problem}"
    hint = "Nothing is wrong at your side. Hearthgate tries again."


class BadNonceError(CertificateError):
    """Raise if the authority refused one fresh nonce after the other."""

    code = "ca_bad_nonce"
    message = "{authority} refused one fresh nonce after the other."
    hint = "The authority, or a proxy in front of it, is out of order. Try later."


class CaNonsenseError(CertificateError):
    """Raise if an answer is not what RFC 8555 says."""

    code = "ca_nonsense"
    message = "{authority} gave an answer that makes no sense: {reason}."
    hint = "Check the directory URL. A log line has the details."


class AccountRefusedError(CertificateError):
    """Raise if the authority does not want our account."""

    code = "ca_account_refused"
    message = "{authority} does not accept an account: {problem}"
    hint = "Check the email address in the settings."


class AccountLostError(CertificateError):
    """Raise if the authority does not know our account any more."""

    code = "ca_account_lost"
    message = "{authority} does not know your account any more: {problem}"
    hint = "Hearthgate makes a new one with the same key at the next try."


class ExternalAccountError(CertificateError):
    """Raise if the authority wants to know whose customer we are."""

    code = "ca_external_account"
    message = "{authority} wants an external account binding: {problem}"
    hint = "Enter the key ID and the HMAC key that the authority gave you."


class TermsError(CertificateError):
    """Raise if the authority's terms changed and a human must agree."""

    code = "ca_terms"
    message = "{authority} wants you to agree to something: {problem}"
    hint = "Look for it on the authority's website, then try again."


# --- the proof ---


class ProofFailedError(CertificateError):
    """Raise if the authority looked for our answer and did not find it."""

    code = "proof_failed"
    message = "{authority} could not check that {hostname} is yours: {problem}"
    hint = "{advice}"


class NoHttpProofError(CertificateError):
    """Raise if the authority offers no proof over HTTP."""

    code = "no_http_proof"
    message = "{authority} offers no proof over HTTP for {hostname}, only {offered}."
    hint = "Use another certificate authority for this hostname."


class AnswerNotShownError(CertificateError):
    """Raise if the relay could not show the answer on its port 80."""

    code = "answer_not_shown"
    message = "Your relay could not show the proof for {hostname}: {reason}"
    hint = "Check that the relay is connected, then try again."


class CertificateUnfitError(CertificateError):
    """Raise if what was issued does not fit what was ordered."""

    code = "certificate_unfit"
    message = "{authority} issued a certificate that can't be used: {reason}."
    hint = "Report this to the authority."


class NotStoredError(CertificateError):
    """Raise if key or certificate could not be kept on disk."""

    code = "certificate_not_stored"
    message = "The certificate of {hostname} could not be stored: {reason}"
    hint = "Check the free space and the permissions of the data folder."
    status = 507


class InternalError(CertificateError):
    """Raise if a bug stopped an order. The log has the traceback."""

    code = "certificate_bug"
    message = "The order for {hostname} ended because of a bug in Hearthgate: {reason}."
    hint = "Please report it with the log."
    status = 500
