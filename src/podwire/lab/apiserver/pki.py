"""What must exist before the server starts: a CA, certificates, tokens and kubeconfigs, all below one directory.

::

    DIR/ca.crt ca.key server.crt server.key     the certificates of the API server
    DIR/kubelet/NODE.crt NODE.key               the serving certificates of kubelets
    DIR/kubelet.token                           what the API server shows to kubelets
    DIR/tokens.json                             digests of everybody's tokens
    DIR/kubeconfig/NAME                         one per user, each with its token

Everything is readable by its owner alone. :func:`prepare` may run again: keys and tokens that exist are kept.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podwire.lab.apiserver.auth import ADMIN_GROUP, NODE_PREFIX, NODES_GROUP, TokenEntry, digest, new_token, read_tokens
from podwire.lab.apiserver.authorize import CONTROLLER, MANAGER

_LIFETIME = datetime.timedelta(days=3650)
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_LOOPBACK = ("127.0.0.1", "::1")
SECURE_PORT = 6443


@dataclass(frozen=True)
class Credentials:
    """What one node is given. *certificate* and *key* are None when no addresses were named."""

    kubeconfig: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Kubeconfigs:
    """Where :func:`prepare` put everything."""

    admin: Path
    controller: Path
    manager: Path
    ca: Path
    kubelet_token: Path
    nodes: dict[str, Credentials] = field(default_factory=dict)


def prepare(
    directory: Path,
    addresses: Iterable[str],
    node_names: Iterable[str] = (),
    *,
    server: str = "",
    local_server: str = "",
) -> Kubeconfigs:
    """Make what is missing below *directory*.

    *addresses* are those of the control plane, without the loopback. *server* is the URL for nodes and controllers
    (default: the first address, port 6443), *local_server* the one for the admin's kubeconfig (default: the loopback,
    port 6443).
    """
    listed = list(addresses)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("kubelet", "kubeconfig"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    _authority(directory)
    _certificate(directory, directory / "server", "kube-apiserver", [*_LOOPBACK, *listed], _NAMES)
    if not (directory / "kubelet.token").exists():
        _write(directory / "kubelet.token", new_token().encode())
    first = listed[0] if listed else "127.0.0.1"
    server = server or f"https://{f'[{first}]' if ':' in first else first}:{SECURE_PORT}"
    local_server = local_server or f"https://127.0.0.1:{SECURE_PORT}"
    return Kubeconfigs(
        admin=_user(directory, "admin", "admin", (ADMIN_GROUP,), local_server),
        controller=_user(directory, "podwire-controller", CONTROLLER, (), server),
        manager=_user(directory, "manager", MANAGER, (), server),
        ca=directory / "ca.crt",
        kubelet_token=directory / "kubelet.token",
        nodes={name: add_node(directory, name, server=server) for name in node_names},
    )


def add_node(directory: Path, name: str, *, server: str, addresses: Iterable[str] = ()) -> Credentials:
    """Credentials for a node, also while the server runs; a serving certificate for its kubelet when *addresses* are given."""
    kubeconfig = _user(directory, f"node-{name}", NODE_PREFIX + name, (NODES_GROUP,), server)
    listed = list(addresses)
    if not listed:
        return Credentials(kubeconfig)
    stem = directory / "kubelet" / name
    _certificate(directory, stem, f"{NODE_PREFIX}{name}", listed, (name,))
    return Credentials(kubeconfig, stem.with_name(f"{name}.crt"), stem.with_name(f"{name}.key"))


def remove_node(directory: Path, name: str) -> None:
    """Forget a node: its token is refused from the next request on."""
    path = directory / "tokens.json"
    _write_tokens(path, [entry for entry in read_tokens(path) if entry.user != NODE_PREFIX + name])
    for file in (
        directory / "kubeconfig" / f"node-{name}",
        *(directory / "kubelet" / f"{name}.{end}" for end in ("crt", "key")),
    ):
        file.unlink(missing_ok=True)


# Tokens and kubeconfigs


def _user(directory: Path, file: str, user: str, groups: tuple[str, ...], server: str) -> Path:
    path = directory / "kubeconfig" / file
    token = _token_in(path)
    tokens = directory / "tokens.json"
    entries = read_tokens(tokens) if tokens.exists() else []
    if token is None or all(entry.digest != digest(token) for entry in entries):
        token = token or new_token()
        kept = [entry for entry in entries if entry.user != user]
        _write_tokens(tokens, [*kept, TokenEntry(digest(token), user, groups)])
    ca = (directory / "ca.crt").read_bytes()
    _write(path, msgspec.json.format(msgspec.json.encode(_kubeconfig(server, ca, user, token))))
    return path


def _write_tokens(path: Path, entries: list[TokenEntry]) -> None:
    _write(path, msgspec.json.encode(entries))


def _token_in(path: Path) -> str | None:
    if not path.exists():
        return None
    found = msgspec.json.decode(path.read_bytes())
    token: str = found["users"][0]["user"]["token"]
    return token


def _kubeconfig(server: str, ca: bytes, user: str, token: str) -> dict[str, object]:
    """JSON is YAML, so every reader of kubeconfigs reads it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }


# Certificates


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    # An hour back, because clocks of what reads it may differ a little.
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(directory: Path) -> None:
    if (directory / "ca.crt").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("podwire-lab-ca", _name("podwire-lab-ca"), key.public_key())
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_pair(directory / "ca", certificate, key)


def _certificate(directory: Path, stem: Path, subject: str, addresses: Iterable[str], names: Iterable[str]) -> None:
    """Issue a serving certificate as *stem*.crt and .key, unless one for the same names and addresses is there."""
    wanted: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    wanted += [x509.IPAddress(ip_address(address)) for address in dict.fromkeys(addresses)]
    path = stem.with_name(f"{stem.name}.crt")
    if path.exists():
        found = x509.load_pem_x509_certificate(path.read_bytes())
        if list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == wanted:
            return
    ca = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA's key is not the one that was made here")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(subject, ca.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write_pair(stem, certificate, key)


def _write_pair(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(stem.with_name(f"{stem.name}.key"), private)
    _write(stem.with_name(f"{stem.name}.crt"), certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    """Write atomically, readable by the owner alone from the first moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    temporary.rename(path)
