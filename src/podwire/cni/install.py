"""Put the plugin where the container runtime looks for it, and take it away again.

The conflist is what makes a runtime believe that there is a network, so it comes last, once the agent can serve; and it
never stands there half written, since a runtime reads it the moment that it appears.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from podwire.model.config import CniConfig
from podwire.model.errors import PodwireError

BINARY = "podwire"
_CONF_SUFFIXES = (".conf", ".conflist", ".json")


def conflist(network: str) -> bytes:
    """The network configuration list. containerd 1.6 stops at cniVersion 1.0.0, hence the two versions."""
    document = {
        "cniVersion": "1.0.0",
        "cniVersions": ["1.0.0", "1.1.0"],
        "name": network,
        "plugins": [{"type": BINARY, "capabilities": {"ips": True, "mac": True}}],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def install(config: CniConfig, binary: Path) -> list[Path]:
    """Install *binary* (``build.binary_path()``) and, after it, the conflist; returns the files that were changed."""
    wanted = (
        (Path(config.bin_dir, BINARY), binary.read_bytes(), 0o755),
        (Path(config.conf_dir, config.conf_name), conflist(config.network), 0o644),
    )
    return [path for path, content, mode in wanted if _write(path, content, mode)]


def uninstall(config: CniConfig) -> list[Path]:
    """Remove the conflist and, after it, the binary; returns the files that were removed."""
    removed = []
    for path in (Path(config.conf_dir, config.conf_name), Path(config.bin_dir, BINARY)):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PodwireError(f"cannot remove {path}: {error.strerror}") from error
        removed.append(path)
    return removed


def rivals(config: CniConfig) -> list[Path]:
    """Configurations that a runtime would prefer to ours, which are those whose names sort before."""
    try:
        found = sorted(path for path in Path(config.conf_dir).iterdir() if path.suffix in _CONF_SUFFIXES)
    except FileNotFoundError:
        return []
    return [path for path in found if path.name < config.conf_name]


def _write(path: Path, content: bytes, mode: int) -> bool:
    """Make *path* hold *content*, atomically and durably; False if it does already."""
    try:
        if path.is_file() and path.read_bytes() == content and path.stat().st_mode & 0o7777 == mode:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Hidden, and without a suffix that a runtime would take for a configuration.
        fd, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(fd, mode)
                os.fsync(fd)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise PodwireError(
            f"cannot install {path}: {error.strerror}", remedy="is the directory mounted into the agent, and writable?"
        ) from error
    return True
