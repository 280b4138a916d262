"""Our account at one authority: its key is made once and never leaves the home.

    account.pem ──▶ sign ──▶ newAccount ──▶ URL, kept in state.yaml

A lost URL is found again by the key, a lost account is made again with the same key.
Never shows the key: not in a log, a repr or an error.
"""

import asyncio
from collections.abc import Callable
import logging
from pathlib import Path
from typing import Any

from acme import messages
from josepy.jwk import JWKEC

from hearthgate.home.certificates import errors
from hearthgate.home.certificates.pem import (
    PEM_MAX_BYTES,
    UnfitError,
    key_from_pem,
    key_to_pem,
    new_key,
)
from hearthgate.home.certificates.session import Session
from hearthgate.home.certificates.store import set_aside
from hearthgate.home.certificates.translate import account_refused
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    read_capped,
    write_private,
)

_LOGGER = logging.getLogger(__name__)


class Account:
    """The account at one ACME directory."""

    def __init__(
        self, path: Path, *, url: str | None, keep: Callable[[str | None], None]
    ) -> None:
        """Keep where the key is; `keep` stores the account's URL and may block."""
        self.url = url
        self._path = path
        self._keep = keep
        self._key: JWKEC | None = None
        self._lock = asyncio.Lock()

    async def key(self) -> JWKEC:
        """Return the account key, made if there is none yet."""
        async with self._lock:
            if self._key is None:
                self._key = await asyncio.to_thread(load_or_make_key, self._path)
            return self._key

    async def use(self, session: Session) -> None:
        """Make the session act for this account. Registers it if need be."""
        async with self._lock:
            if self.url is None:
                url = await self._register(session)
                await asyncio.to_thread(self._keep, url)
                self.url = url
            session.client.use_account(self.url)

    async def forget(self, url: str | None) -> None:
        """Drop a URL that the authority does not know any more."""
        async with self._lock:
            if self.url == url:
                await asyncio.to_thread(self._keep, None)
                self.url = None

    async def _register(self, session: Session) -> str:
        settings = session.settings
        binding: dict[str, Any] | None = None
        if settings.external_account is not None:
            binding = await session.call(
                messages.ExternalAccountBinding.from_data,
                session.key.public_key(),
                settings.external_account.kid,
                settings.external_account.hmac_key,
                session.client.directory,
            )
        try:
            url = await session.call(session.client.register, settings.email, binding)
        except errors.CertificateError as err:
            raise account_refused(err, settings.authority) from err
        _LOGGER.info("Account at %s: %s", settings.authority, url)
        return url


def load_or_make_key(path: Path) -> JWKEC:
    """Return the key at path; make and store one if there is none that can be used.

    Blocking. Raises StateNotReadableError and StateNotWritableError.
    """
    try:
        data = read_capped(path, PEM_MAX_BYTES)
        if data is not None:
            return JWKEC(key=key_from_pem(data))
    except (UnfitError, NotAFileError) as err:
        set_aside(path, str(err))
    key = new_key()
    write_private(path, key_to_pem(key))
    return JWKEC(key=key)
