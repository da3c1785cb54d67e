"""The reaper: deletes host ends in the background, many to a grace period of the kernel.

Deleting a link waits some 20 ms for the kernel's readers to finish, whether it is one link or fifty. So a pod's DEL
only takes the link down and moves it to :data:`~podwire.model.kernel.REAPER_GROUP`; a thread deletes by group.
While it waits, more links gather, which makes the batches.
"""

from __future__ import annotations

import errno
import logging
import threading

from podwire.drivers.netlink import link
from podwire.drivers.netlink.socket import SocketPool, refused
from podwire.model.errors import KernelError
from podwire.model.kernel import REAPER_GROUP

_LOG = logging.getLogger(__name__)
_PAUSE_AFTER_FAILURE = 1.0


class Reaper:
    """Deletes the links of the reaper's group whenever told to; the thread starts with the first need of it."""

    def __init__(self, pool: SocketPool) -> None:
        self._pool = pool
        self._change = threading.Condition()
        self._due = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There is something in the group, or there may be."""
        with self._change:
            if self._closing:
                return
            self._due = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="podwire-reaper", daemon=True)
                self._thread.start()
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._due and not self._closing:
                    self._change.wait()
                if not self._due:
                    return
                self._due = False
            try:
                self._delete()
            except KernelError as error:
                _LOG.warning("cannot delete host ends of deleted pods: %s; will try again", error)
                with self._change:
                    if self._closing:
                        return
                    self._change.wait(_PAUSE_AFTER_FAILURE)
                    self._due = True

    def _delete(self) -> None:
        with self._pool.socket() as sock:
            for refusal in sock.execute((link.delete_group(REAPER_GROUP),)):
                if refusal.errno != errno.ENODEV:  # nothing in the group
                    raise refused(f"delete links of group {REAPER_GROUP}", refusal.errno, refusal.detail)

    def close(self) -> None:
        """Delete what is due, then end the thread."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()
