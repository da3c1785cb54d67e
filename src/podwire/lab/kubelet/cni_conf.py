"""Network configurations as a container runtime loads them: CNI specification 1.1.0, section 1.

The runtime takes the first usable file of its directory in lexical order, as containerd does; a file that is being
written or is wrong does not hide the next one, but is named when there is no usable one at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from podwire.model.errors import InputError, LabError

SUPPORTED_VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""What this runtime speaks, oldest first."""


class NotReady(LabError):
    """There is no usable network configuration yet."""


class Network(msgspec.Struct, frozen=True):
    """A network configuration list, its version already negotiated. *plugins* are their configurations as written."""

    name: str
    version: str
    plugins: tuple[Mapping[str, Any], ...]
    disable_check: bool = False
    disable_gc: bool = False
    raw: bytes = b""

    def at_least(self, version: str) -> bool:
        """Whether the negotiated version is *version* or newer."""
        return SUPPORTED_VERSIONS.index(self.version) >= SUPPORTED_VERSIONS.index(version)


class _Document(msgspec.Struct, rename="camel"):
    name: str
    cni_version: str = "0.1.0"
    cni_versions: tuple[str, ...] = ()
    disable_check: bool = False
    disable_gc: bool = msgspec.field(default=False, name="disableGC")
    plugins: tuple[dict[str, Any], ...] = ()
    type: str = ""


def parse(data: bytes) -> Network:
    """Decode a conflist, or a conf of a single plugin; InputError names what is wrong."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except msgspec.DecodeError as error:
        raise InputError("network configuration", None, str(error)) from None
    plugins = document.plugins or ((msgspec.json.decode(data, type=dict[str, Any]),) if document.type else ())
    if not document.name or not plugins:
        raise InputError("network configuration", document.name, "has no name or no plugins")
    for plugin in plugins:
        kind = plugin.get("type")
        if not isinstance(kind, str) or not kind or "/" in kind:
            raise InputError("plugins[].type", kind, "is not the name of a plugin's executable")
    version = negotiate(document.cni_version, document.cni_versions)
    return Network(document.name, version, plugins, document.disable_check, document.disable_gc, data)


def negotiate(version: str, versions: Sequence[str]) -> str:
    """The highest version that the configuration lists and this runtime speaks (specification 1.1.0, "cniVersions")."""
    offered = {version, *versions} if versions else {version}
    for candidate in reversed(SUPPORTED_VERSIONS):
        if candidate in offered:
            return candidate
    raise InputError("cniVersion", version, "is not spoken here", remedy=f"use one of {', '.join(SUPPORTED_VERSIONS)}")


def load_first(directory: Path) -> Network:
    """The network configuration to use; NotReady when there is none, naming what is wrong with those there are."""
    problems = []
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in (".conf", ".conflist", ".json"))
    except OSError:
        files = []
    for path in files:
        try:
            return parse(path.read_bytes())
        except (OSError, InputError) as error:
            problems.append(f"{path.name}: {error}")
    if problems:
        raise NotReady(f"no usable network configuration in {directory}: {'; '.join(problems)}")
    raise NotReady(f"no network configuration found in {directory}", remedy="a CNI plugin writes it when it can serve")
