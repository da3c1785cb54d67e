"""What the agent remembers of its own Node, so that a restart while the API server is away can still serve new pods.

One small file in the run directory, which a reboot empties: addresses and pod CIDRs of before a reboot are not trusted.
"""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path

import msgspec

from podwire.model.cluster import Node

_LOG = logging.getLogger(__name__)
_FILE = "node.json"


class _Remembered(msgspec.Struct):
    name: str
    uid: str
    addresses: list[str]
    pod_cidrs: list[str]


def remember(run_dir: Path, node: Node) -> None:
    """Keep *node*; a failure is logged, since nothing depends on it now."""
    kept = _Remembered(node.name, node.uid, [str(a) for a in node.addresses], [str(c) for c in node.pod_cidrs])
    content = msgspec.json.encode(kept)
    path = run_dir / _FILE
    try:
        if path.exists() and path.read_bytes() == content:
            return
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        _LOG.warning("cannot keep %s: %s", path, error)


def recall(run_dir: Path, name: str) -> Node | None:
    """The Node as last kept, if it was this one and can be read."""
    try:
        kept = msgspec.json.decode((run_dir / _FILE).read_bytes(), type=_Remembered)
        if kept.name != name:
            return None
        addresses = tuple(ipaddress.ip_address(text) for text in kept.addresses)
        return Node(name, addresses, tuple(ipaddress.ip_network(text) for text in kept.pod_cidrs), kept.uid)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        _LOG.warning("what was kept of this node cannot be read: %s", error)
        return None
