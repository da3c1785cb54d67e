"""Who is asking: bearer tokens, from a file that holds their digests."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec

from podwire.model.errors import InputError

ADMIN_GROUP = "system:masters"
NODES_GROUP = "system:nodes"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
NODE_PREFIX = "system:node:"


class User(NamedTuple):
    """An authenticated user, or the anonymous one."""

    name: str
    groups: tuple[str, ...]

    @property
    def node(self) -> str:
        """The node whose user this is, or an empty string."""
        is_node = NODES_GROUP in self.groups and self.name.startswith(NODE_PREFIX)
        return self.name.removeprefix(NODE_PREFIX) if is_node else ""


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


class TokenEntry(msgspec.Struct, frozen=True):
    """One line of the file: the SHA-256 of a token, in hexadecimal, and whose it is."""

    digest: str
    user: str
    groups: tuple[str, ...] = ()


def new_token() -> str:
    """A random token of 256 bits."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a token. Tokens are random, so a plain hash cannot be turned back by guessing."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Authenticator:
    """Checks bearer tokens; a changed file is read again at the next request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._entries: list[TokenEntry] = []

    def user(self, authorization: str) -> User | None:
        """The user of an ``Authorization`` header: the anonymous one without a header, None for a token we do not know."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        return self.of_token(token.strip())

    def of_token(self, token: str) -> User | None:
        """The user of a token. Every entry is compared, in constant time, whether or not one matched before."""
        self._reload()
        given, found = digest(token), None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, given):
                found = entry
        return User(found.user, (*found.groups, AUTHENTICATED)) if found else None

    def _reload(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._entries, self._stamp = [], None
            return
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp != self._stamp:
            self._entries = read_tokens(self._path)
            self._stamp = stamp


def read_tokens(path: Path) -> list[TokenEntry]:
    """The entries of a token file; InputError when it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[TokenEntry])
    except msgspec.DecodeError as error:
        remedy = "run `podwire lab down` and `up` again"
        raise InputError(str(path), None, f"is not a list of tokens: {error}", remedy=remedy) from error
