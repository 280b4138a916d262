"""Get, keep and renew certificates over ACME (RFC 8555), proven over HTTP.

    Certificates ──▶ orders ──▶ order ──▶ session ──▶ client, network (threads)
         │              └──▶ dns_check, caa            └── translate: its exceptions
         └──▶ renewer, renewal (when), book and state (what survives), store (files)

Keys are made here and stay here: account and private keys are never in a log, a repr,
an error or an answer of the API. Does not serve the answers (the relay does), does not
use the certificates (the edge does), knows no wildcard names.
"""

from hearthgate.home.certificates.certificates import Certificates
from hearthgate.home.certificates.errors import CertificateError
from hearthgate.home.certificates.order import Answers
from hearthgate.home.certificates.orders import Step
from hearthgate.home.certificates.settings import (
    LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
    AcmeLimits,
    AcmeSettings,
    ExternalAccount,
)
from hearthgate.home.certificates.store import Certificate

__all__ = [
    "LETS_ENCRYPT",
    "LETS_ENCRYPT_STAGING",
    "AcmeLimits",
    "AcmeSettings",
    "Answers",
    "Certificate",
    "CertificateError",
    "Certificates",
    "ExternalAccount",
    "Step",
]
