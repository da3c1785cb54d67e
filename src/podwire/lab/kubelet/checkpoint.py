"""What a kubelet needs to know of its pods after it was killed: one file a pod, in a directory that ends with the boot."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import msgspec

from podwire.lab.kubelet.sandbox import SandboxRecord
from podwire.lab.kubelet.status import ContainerView

_LOG = logging.getLogger(__name__)


class Checkpoint(msgspec.Struct):
    """A pod's sandbox, if there may be one, and its containers as last seen."""

    start_time: str = ""
    sandbox: SandboxRecord | None = None
    init: dict[str, ContainerView] = msgspec.field(default_factory=dict)
    main: dict[str, ContainerView] = msgspec.field(default_factory=dict)


class PodDirectory:
    """``STATE/pods/UID``: the checkpoint, the supervisor's socket, the roots, files and volumes of the containers."""

    def __init__(self, state_dir: str, uid: str) -> None:
        self.path = Path(state_dir) / "pods" / uid
        self._file = self.path / "pod.json"

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(checkpoint))
        new.replace(self._file)

    def load(self) -> Checkpoint | None:
        """The checkpoint, or None where there is none that can be read."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Checkpoint)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _LOG.error("%s cannot be read (%s): its pod is started anew", self._file, error)
            return None

    def remove(self) -> None:
        """Delete the directory."""
        shutil.rmtree(self.path, ignore_errors=True)


def known_pods(state_dir: str) -> list[str]:
    """The uids of the pods that have a directory."""
    try:
        return sorted(path.name for path in (Path(state_dir) / "pods").iterdir())
    except FileNotFoundError:
        return []
