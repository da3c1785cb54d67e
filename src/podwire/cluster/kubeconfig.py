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
    _read_at: float = 0.0

    def bearer(self) -> str:
        """The token to send now, or ""."""
        if self.token_file and time.monotonic() - self._read_at > _TOKEN_LIFE:
            try:
                self.token = Path(self.token_file).read_text().strip()
            except OSError as error:
                raise InputError("tokenFile", self.token_file, f"cannot be read ({error.strerror})") from None
            self._read_at = time.monotonic()
        return self.token


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
    except yaml.YAMLError:
        raise InputError("kubeconfig", str(path), "is not YAML") from None
    if not isinstance(raw, dict):
        raise InputError("kubeconfig", str(path), "is not a kubeconfig")
    context = _named(raw, "contexts", raw.get("current-context") or "", "context", path)
    cluster = _named(raw, "clusters", context.get("cluster", ""), "cluster", path)
    user = _named(raw, "users", context["user"], "user", path) if context.get("user") else {}
    if "exec" in user or "auth-provider" in user:
        raise InputError(
            f"{path}: user.exec",
            None,
            "credential plugins are not supported yet",
            remedy="use a token, a token file or a client certificate",
        )
    server = cluster.get("server", "")
    if not server.startswith(("https://", "http://")):
        raise InputError(f"{path}: cluster.server", server, "is not an http(s) URL")
    return Access(
        server=server.rstrip("/"),
        tls=_tls(cluster, user, path) if server.startswith("https://") else None,
        tls_server_name=cluster.get("tls-server-name", ""),
        token=user.get("token", ""),
        token_file=str(_relative(path, user["tokenFile"])) if user.get("tokenFile") else "",
        namespace=context.get("namespace", "default"),
    )


def _named(raw: dict[str, Any], section: str, name: str, key: str, path: Path) -> dict[str, Any]:
    for entry in raw.get(section) or []:
        if entry.get("name") == name:
            found = entry.get(key) or {}
            assert isinstance(found, dict)
            return found
    known = ", ".join(str(entry.get("name")) for entry in raw.get(section) or []) or "none"
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
