"""Where the API server is and how to prove who we are: a kubeconfig file, or the service account of a pod.

Understood of a kubeconfig (``v1`` ``Config``): clusters with ``server``, ``certificate-authority(-data)``,
``insecure-skip-tls-verify``, ``tls-server-name``; users with ``token``, ``tokenFile``, ``client-certificate(-data)`` and
``client-key(-data)``. Exec plugins are refused with a clear error for now. Secrets never appear in an error message.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from podwire.model.errors import InputError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_LIFE = 60.0
"""A token file is read again after this many seconds: the kubelet rotates it."""


class Access(msgspec.Struct):
    """How to reach and convince an API server. *token* is fixed; *token_file* is read again as it rotates."""

    server: str
    tls: ssl.SSLContext | None = None
    tls_server_name: str = ""
    token: str = ""
    token_file: str = ""
    namespace: str = "default"
    _read_at: float | None = None

    def __repr__(self) -> str:
        """Without the token: an Access may end up in a log line."""
        return f"Access({self.server!r}, token={'yes' if self.token or self.token_file else 'no'})"

    def bearer(self) -> str:
        """The token to send now, or "". A file that cannot be read while it rotates leaves the last token in use."""
        now = time.monotonic()
        if self.token_file and (self._read_at is None or now - self._read_at > _TOKEN_LIFE):
            try:
                self.token = Path(self.token_file).read_text().strip()
                self._read_at = now
            except (OSError, UnicodeDecodeError) as error:
                if not self.token:
                    raise InputError("tokenFile", self.token_file, f"cannot be read ({error})") from None
        return self.token

    def refused(self) -> None:
        """The server did not accept the token (401): read its file again before the next request."""
        self._read_at = None


def load(path: str = "") -> Access:
    """Read the kubeconfig at *path*; without a path, use the pod's service account."""
    return from_file(Path(path)) if path else in_cluster()


def in_cluster(directory: Path = SERVICE_ACCOUNT) -> Access:
    """The service account that Kubernetes mounts into a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (directory / "token").exists():
        raise InputError(
            "kubeconfig",
            None,
            "is not set, and this is no pod with a service account",
            remedy="set kubeconfig in the configuration, or --kubeconfig",
        )
    shown = f"[{host}]" if ":" in host else host
    namespace = directory / "namespace"
    return Access(
        server=f"https://{shown}:{port}",
        tls=_context(cafile=str(directory / "ca.crt")),
        token_file=str(directory / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def from_file(path: Path) -> Access:
    """The current context of a kubeconfig file."""
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError("kubeconfig", str(path), f"cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError("kubeconfig", str(path), "is not YAML") from None
    if not isinstance(raw, dict):
        raise InputError("kubeconfig", str(path), "is not a kubeconfig")
    context = _named(raw, "contexts", _text(raw, "current-context", path), "context", path)
    cluster = _named(raw, "clusters", _text(context, "cluster", path), "cluster", path)
    user_name = _text(context, "user", path)
    user = _named(raw, "users", user_name, "user", path) if user_name else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise InputError(
                f"{path}: user.{plugin}",
                None,
                "credential plugins are not supported yet",
                remedy="use a token, a token file or a client certificate",
            )
    server = _text(cluster, "server", path)
    if not server.startswith(("https://", "http://")):
        raise InputError(
            f"{path}: cluster.server", server, "is not an http(s) URL", remedy="write it like https://10.0.0.1:6443"
        )
    token_file = _text(user, "tokenFile", path)
    return Access(
        server=server.rstrip("/"),
        tls=_tls(cluster, user, path) if server.startswith("https://") else None,
        tls_server_name=_text(cluster, "tls-server-name", path),
        token=_text(user, "token", path),
        token_file=str(_relative(path, token_file)) if token_file else "",
        namespace=_text(context, "namespace", path) or "default",
    )


def _text(section: dict[str, Any], key: str, path: Path) -> str:
    value = section.get(key)
    if value is not None and not isinstance(value, str):  # the value may be a secret: name the key alone
        raise InputError(f"{path}: {key}", None, "must be a string", remedy="put it in quotes")
    return value or ""


def _named(raw: dict[str, Any], section: str, name: str, key: str, path: Path) -> dict[str, Any]:
    entries = raw.get(section) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: {section}", None, f"must be a list of entries with name and {key}")
    for entry in entries:
        if entry.get("name") == name:
            found = entry.get(key) or {}
            if not isinstance(found, dict):
                raise InputError(f"{path}: {section} {name}", None, f"its {key} must be a mapping")
            return found
    known = ", ".join(str(entry.get("name")) for entry in entries) or "none"
    raise InputError(f"{path}: {section}", name, "is not there", remedy=f"it has: {known}")


def _relative(base: Path, path: str) -> Path:
    return base.parent / path


def _context(cafile: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cafile, cadata=cadata)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _tls(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext:
    try:
        if data := cluster.get("certificate-authority-data"):
            context = _context(cadata=base64.b64decode(data, validate=True).decode())
        elif file := cluster.get("certificate-authority"):
            context = _context(cafile=str(_relative(path, file)))
        else:
            context = _context()
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        with _pair(user, path) as pair:
            if pair is not None:
                context.load_cert_chain(*pair)
    except (OSError, ValueError, binascii.Error) as error:
        kind = type(error).__name__
        raise InputError(f"{path}: certificates", None, f"cannot be used ({kind}: {error})") from None
    return context


@contextlib.contextmanager
def _pair(user: dict[str, Any], path: Path) -> Iterator[tuple[str, str] | None]:
    """Files of the client certificate and key; ssl takes no bytes, so embedded data passes through a private directory."""
    if user.get("client-certificate-data") and user.get("client-key-data"):
        with tempfile.TemporaryDirectory(prefix="podwire-") as private:
            names = []
            for key in ("client-certificate-data", "client-key-data"):
                target = Path(private) / key
                target.touch(mode=0o600)
                target.write_bytes(base64.b64decode(user[key], validate=True))
                names.append(str(target))
            yield names[0], names[1]
    elif user.get("client-certificate") and user.get("client-key"):
        yield str(_relative(path, user["client-certificate"])), str(_relative(path, user["client-key"]))
    else:
        yield None
