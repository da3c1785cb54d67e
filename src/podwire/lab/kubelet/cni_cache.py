"""What a runtime remembers of an attachment: the configuration and the result of its ADD, in libcni's own format.

CNI specification 1.1.0, section 2, asks the runtime to keep the result for DEL and CHECK. A damaged entry is as good
as none, since DEL has to work without a previous result.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from podwire.lab.kubelet import cni_conf
from podwire.lab.kubelet.cni_conf import Network
from podwire.model.errors import InputError


class Target(msgspec.Struct, frozen=True):
    """One interface of one sandbox. *capabilities* are offered to the plugins that declare them (``ips``, ``mac``…)."""

    container_id: str
    netns: str
    ifname: str = "eth0"
    args: Mapping[str, str] = msgspec.field(default_factory=dict)
    capabilities: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _Entry(msgspec.Struct, rename="camel"):
    container_id: str
    config: str
    if_name: str
    network_name: str
    netns: str
    cni_args: list[tuple[str, str]]
    capability_args: dict[str, Any]
    result: dict[str, Any] | None
    kind: str = "cniCacheV1"


class ResultCache:
    """A directory of results, ``NETWORK-CONTAINERID-IFNAME``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, network: Network, target: Target, result: dict[str, Any] | None) -> None:
        """Remember what *target* was attached with, and the result."""
        entry = _Entry(
            container_id=target.container_id,
            config=base64.b64encode(network.raw).decode(),
            if_name=target.ifname,
            network_name=network.name,
            netns=target.netns,
            cni_args=list(target.args.items()),
            capability_args=dict(target.capabilities),
            result=result,
        )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(network.name, target)
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(msgspec.json.encode(entry))
        new.replace(path)

    def find(self, target: Target, network: Network | None) -> tuple[Network | None, dict[str, Any] | None]:
        """The configuration that *target* was added with, and its result; else *network*, which may be None."""
        for path in self._directory.glob(f"*-{target.container_id}-{target.ifname}"):
            entry = _read(path)
            if entry is not None:
                try:
                    return cni_conf.parse(base64.b64decode(entry.config)), entry.result
                except (ValueError, InputError):
                    continue
        return network, None

    def targets(self, network: str) -> list[Target]:
        """Every attachment to *network* that is remembered."""
        entries = [_read(path) for path in sorted(self._directory.glob(f"{network}-*"))]
        return [
            Target(entry.container_id, entry.netns, entry.if_name, dict(entry.cni_args), entry.capability_args)
            for entry in entries
            if entry is not None and entry.network_name == network
        ]

    def remove(self, network: str, target: Target) -> None:
        """Forget *target*."""
        self._path(network, target).unlink(missing_ok=True)

    def _path(self, network: str, target: Target) -> Path:
        return self._directory / f"{network}-{target.container_id}-{target.ifname}"


def _read(path: Path) -> _Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Entry)
    except (OSError, msgspec.DecodeError):
        return None
