"""The pod's network namespace: which one it is, and whether it still stands.

A namespace is told by its inode number on nsfs, which its path leads to in whatever mount namespace one looks.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from podwire.model.attachment import Attachment
from podwire.model.errors import NoSuchNamespace

_NS_GET_NSTYPE = 0xB703
_CLONE_NEWNET = 0x40000000


def identify(fd: int) -> int:
    """The inode number of the network namespace *fd*; NoSuchNamespace if it is none.

    The file below /run/netns that remains once a namespace was unmounted is the usual case of that.
    """
    try:
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError as error:
        raise NoSuchNamespace("use the pod's network namespace", error.errno or 0, "it is none") from None
    if found != _CLONE_NEWNET:
        raise NoSuchNamespace("use the pod's network namespace", errno.EINVAL, "it is a namespace of another kind")
    return os.fstat(fd).st_ino


def own() -> int:
    """The inode number of the namespace that this process is in: no pod has that one."""
    return Path("/proc/self/ns/net").stat().st_ino


def stands(attachment: Attachment) -> bool:
    """Whether the path of the attachment's namespace still leads to it, as far as one may look."""
    try:
        return Path(attachment.netns).stat().st_ino == attachment.netns_inode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # that we may not look proves nothing
        return True
