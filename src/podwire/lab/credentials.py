"""A lab's certificates and tokens: made once by the API server's own room (``apiserver.pki``), handed to each host's files.

The directory is the API server's, below the lab's state; the kubeconfig of the lab's user is the admin's, by the machine's
loopback.
"""

from __future__ import annotations

from pathlib import Path

from podwire.lab import spec as places
from podwire.lab.apiserver import pki
from podwire.lab.cluster import Lab
from podwire.lab.spec import API_PORT, NodeRecord

_FILES = {"manager": "manager", "controller": "podwire-controller"}


def prepare(lab: Lab) -> None:
    """Make what is missing, and write the kubeconfig of the lab's user."""
    made = pki.prepare(
        lab.directory.api,
        [str(address) for address in places.control_addresses(lab.spec)],
        server=_server(lab),
        local_server=f"https://127.0.0.1:{lab.record.api_port}",
    )
    lab.directory.write_private("kubeconfig", made.admin.read_bytes())


def kubeconfig(lab: Lab, user: str) -> bytes:
    """The kubeconfig of ``manager`` or ``controller``."""
    return (lab.directory.api / "kubeconfig" / _FILES[user]).read_bytes()


def node_kubeconfig(lab: Lab, node: NodeRecord) -> bytes:
    """The kubeconfig of a node, for its kubelet and its agent."""
    return _node(lab, node).kubeconfig.read_bytes()


def serving(lab: Lab, node: NodeRecord) -> tuple[bytes, bytes]:
    """Certificate and key with which the node's kubelet serves, PEM."""
    made = _node(lab, node)
    assert made.certificate is not None
    assert made.key is not None
    return made.certificate.read_bytes(), made.key.read_bytes()


def kubelet_token(lab: Lab) -> bytes:
    """What the API server shows to kubelets."""
    return (lab.directory.api / "kubelet.token").read_bytes()


def forget(lab: Lab, node: NodeRecord) -> None:
    """The node's token is refused from now on."""
    pki.remove_node(lab.directory.api, node.name)


def _node(lab: Lab, node: NodeRecord) -> pki.Credentials:
    addresses = [str(address) for address in places.node_addresses(lab.spec, node)]
    return pki.add_node(Path(lab.directory.api), node.name, server=_server(lab), addresses=addresses)


def _server(lab: Lab) -> str:
    first = places.control_addresses(lab.spec)[0]
    return f"https://{f'[{first}]' if first.version == 6 else first}:{API_PORT}"
