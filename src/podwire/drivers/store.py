"""The journal store: a node's attachments in one append-only file, in the node's /run.

Each change is one write(2) at the end of the file ``allocations``; the kernel keeps it from then on, whatever becomes
of the agent. There is no fsync: /run is a tmpfs that ends with the node's pods, at the reboot, and where it is not, the
boot id in the header tells a file from before the reboot, which is then set aside. When more records are dead than
alive, the file is written anew beside itself and renamed into place.

What goes wrong, and what happens:

* the last write was cut off: it was never acknowledged, and is dropped;
* anything else cannot be read: the file is set aside as ``allocations.damaged-<time>``, what is intact is kept, and
  ``recovered`` says so: the caller rebuilds the rest from the kernel and the running pods (``podwire.ipam.rebuild``);
* a newer podwire wrote it: refused, untouched;
* no space is left: the write is taken back, StoreError, nothing changed;
* a second agent: refused, naming the first one's pid (a lock on ``allocations.lock``, which ends with the process).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from podwire.drivers import journal
from podwire.ipam.store import StoreState
from podwire.model.addresses import IPAddress, address
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.errors import StoreCorrupt, StoreError, StoreTooNew

FILE = "allocations"
LOCK = "allocations.lock"
SLACK = 1024
"""Dead records that are always tolerated: below this no compaction."""
KEEP_COOLING = 86400.0
"""Freed addresses older than this, seconds (the longest cool-down of the configuration), need not be remembered."""
MOST_COOLING = 65536
"""Nor more of them than this, the newest: an IPv6 pool never runs out of addresses to remember."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"

log = logging.getLogger(__name__)


class JournalStore:
    """:class:`~podwire.ipam.store.Store` on a file. Calls may come from several threads."""

    def __init__(
        self, directory: str, *, clock: Callable[[], float] = time.time, boot_id: str | None = None, slack: int = SLACK
    ) -> None:
        """*directory* is made (0700) by :meth:`load` if missing; *clock* is in seconds since the epoch."""
        self._directory = Path(directory)
        self._path = self._directory / FILE
        self._clock = clock
        self._boot = _read_boot_id() if boot_id is None else boot_id
        self._slack = slack
        self._mutex = threading.Lock()
        self._lock = -1
        self._fd = -1
        self._good = 0
        self._clean = True
        self._records = 0
        self._compact_at = 0
        self._attachments: dict[AttachmentKey, Attachment] = {}
        self._cooling: dict[IPAddress, float] = {}

    def load(self) -> StoreState:
        """Take the lock and read everything; called again, tell what is known.

        Raises StoreTooNew, and StoreError when another agent has the lock or the directory cannot be used.
        """
        with self._mutex:
            recovered = ""
            if self._fd < 0:
                try:
                    self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._take_lock()
                    recovered = self._open()
                except OSError as error:
                    self._release()
                    raise StoreError(
                        f"the allocations in {self._directory} cannot be read: {error}",
                        remedy=f"see that {self._directory} is a writable directory of root",
                    ) from error
                except StoreError:
                    self._release()
                    raise
            return StoreState(
                MappingProxyType(dict(self._attachments)), MappingProxyType(dict(self._cooling)), recovered
            )

    def put(self, attachment: Attachment) -> None:
        """Record *attachment*; its addresses no longer cool."""
        with self._mutex:
            self._append(journal.put(attachment), f"attachment {attachment.key} of {attachment.owner}")
            self._apply_put(attachment)
            self._compact_when_due()

    def remove(self, key: AttachmentKey, freed: Mapping[IPAddress, float]) -> None:
        """Forget the attachment and remember when its addresses were freed."""
        with self._mutex:
            self._ready()
            if key not in self._attachments and all(self._cooling.get(addr) == when for addr, when in freed.items()):
                return
            self._append(journal.Remove(key, journal.freed_text(freed)), f"removal of {key}")
            self._attachments.pop(key, None)
            self._cooling.update(freed)
            self._compact_when_due()

    def close(self) -> None:
        """Release the lock and the file; idempotent."""
        with self._mutex:
            self._release()

    def _take_lock(self) -> None:
        self._lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            raise StoreError(
                f"the allocations in {self._directory} belong to another agent, pid {holder or 'unknown'}",
                remedy="stop it first, or give this one another runDir",
            ) from None
        try:  # the pid is for the message above only: a full filesystem must not keep an agent from starting
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            log.warning("cannot write the pid into %s: %s", self._directory / LOCK, error)

    def _open(self) -> str:
        """Read the file, mend it, open it for writing; returns what ``recovered`` should say."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            self._rewrite()
            return ""
        found = journal.decode(data)
        if found.schema is not None and found.schema > journal.SCHEMA:
            raise StoreTooNew(
                f"{self._path} has schema {found.schema}, this podwire knows up to {journal.SCHEMA}",
                remedy="run the newer podwire again, or drain and reboot the node",
            )
        if found.boot and self._boot and found.boot != self._boot:
            log.info("%s is from before the reboot: moved to %s", self._path, self._rewrite("before-reboot"))
            return ""
        self._replay(found)
        if found.damage:
            aside = self._rewrite("damaged")
            return (
                f"{self._path} was damaged ({found.damage.lines} unreadable, the first at byte {found.damage.offset}): "
                f"moved to {aside}, {len(found.records)} intact records kept"
            )
        if found.schema != journal.SCHEMA:
            self._rewrite()
            return ""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._good, self._clean = found.good, not found.torn
        self._records = len(found.records) + 1
        self._truncate()
        return ""

    def _replay(self, found: journal.Journal) -> None:
        """An address in two attachments means that the removal of the earlier one was lost to damage."""
        holders: dict[IPAddress, AttachmentKey] = {}
        for record in found.records:
            if isinstance(record, journal.Put):
                attachment = journal.attachment_of(record.attachment)
                for addr in attachment.ips:
                    if holders.get(addr, attachment.key) != attachment.key:
                        self._attachments.pop(holders[addr], None)
                    holders[addr] = attachment.key
                self._apply_put(attachment)
            else:
                if isinstance(record, journal.Remove):
                    self._attachments.pop(record.key, None)
                self._cooling.update((address(text, "freed"), when) for text, when in record.freed.items())

    def _apply_put(self, attachment: Attachment) -> None:
        self._attachments[attachment.key] = attachment
        for addr in attachment.ips:
            self._cooling.pop(addr, None)

    def _append(self, record: journal.Record, what: str) -> None:
        """One write; on failure the file is as before."""
        self._ready()
        line = journal.encode(record)
        try:
            self._truncate()
            self._clean = False
            written = os.pwrite(self._fd, line, self._good)
            while written < len(line):  # the rest of a short write meets the error that shortened it
                written += os.pwrite(self._fd, line[written:], self._good + written)
        except OSError as error:
            try:
                self._truncate()
            except OSError:
                log.exception("cannot take back a failed write to %s; it is tried again at the next one", self._path)
            space = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise StoreError(
                f"the {what} cannot be recorded in {self._path}: {error.strerror}",
                remedy=f"free space there (df {self._directory})" if space else "see the kernel's log for the device",
            ) from error
        self._good += len(line)
        self._records += 1
        self._clean = True

    def _truncate(self) -> None:
        """Drop what lies behind the last good record."""
        if not self._clean:
            os.ftruncate(self._fd, self._good)
            self._clean = True

    def _compact_when_due(self) -> None:
        live = len(self._attachments) + len(self._cooling) // journal.CHUNK
        if self._records < max(self._compact_at, 2 * live + self._slack):
            return
        try:
            self._rewrite()
        except OSError as error:  # the change itself is safe in the old file
            self._compact_at = self._records + self._slack
            log.warning("%s cannot be compacted, tried again later: %s", self._path, error)

    def _rewrite(self, aside: str = "") -> Path | None:
        """Write the file anew beside itself and put it in place; the old one stands until the new one is whole.

        *aside* says why the old file is kept under another name, which is returned.
        """
        kept = None
        cooling = self._worth_keeping()
        lines = journal.compacted(self._boot, self._attachments.values(), cooling)
        temporary = self._path.with_suffix(".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            data = b"".join(lines)
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], written)
            if aside:
                kept = self._set_aside(aside)
            temporary.rename(self._path)
        except (OSError, StoreError):
            os.close(fd)
            temporary.unlink(missing_ok=True)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._good, self._clean = fd, len(data), True
        self._records, self._compact_at = len(lines), 0
        self._cooling = cooling
        return kept

    def _worth_keeping(self) -> dict[IPAddress, float]:
        oldest = self._clock() - KEEP_COOLING
        cooling = {addr: when for addr, when in self._cooling.items() if when > oldest}
        if len(cooling) > MOST_COOLING:
            newest = sorted(cooling.items(), key=lambda entry: entry[1])[-MOST_COOLING:]
            cooling = dict(newest)
        return cooling

    def _set_aside(self, why: str) -> Path:
        """Give the file a second name; the first stays until the new file takes it, so that no death loses both."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        for attempt in range(1000):
            aside = self._directory / f"{FILE}.{why}-{stamp}{f'-{attempt}' if attempt else ''}"
            try:
                aside.hardlink_to(self._path)
            except FileExistsError:
                continue
            return aside
        raise StoreCorrupt(f"{self._path} cannot be set aside as {aside}", remedy=f"remove {FILE}.{why}-*")

    def _ready(self) -> None:
        if self._fd < 0:
            raise StoreError(f"the store in {self._directory} is not open", remedy="load() comes first")

    def _release(self) -> None:
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1
        self._attachments, self._cooling = {}, {}


def _read_boot_id() -> str:
    try:
        return Path(BOOT_ID).read_text(encoding="ascii").strip()
    except OSError:
        return ""
