"""A store in memory, for tests of what stands on one: same behaviour, and failures on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from podwire.ipam.store import StoreState
from podwire.model.addresses import IPAddress
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.errors import StoreError


class FakeStore:
    """:class:`~podwire.ipam.store.Store` in memory.

    *fail_at* are the numbers of the writes (counted from 1, failed ones too) that raise StoreError and change nothing.
    *on_write*, if given, is called after each write that succeeded with the write's number.
    """

    def __init__(self, fail_at: Collection[int] = (), on_write: Callable[[int], None] | None = None) -> None:
        """An empty store."""
        self.fail_at = set(fail_at)
        self.on_write = on_write
        self.writes = 0
        self._open = False
        self._attachments: dict[AttachmentKey, Attachment] = {}
        self._cooling: dict[IPAddress, float] = {}

    def load(self) -> StoreState:
        """What was written so far."""
        self._open = True
        return StoreState(dict(self._attachments), dict(self._cooling))

    def put(self, attachment: Attachment) -> None:
        """Record *attachment*; its addresses no longer cool."""
        self._write()
        self._attachments[attachment.key] = attachment
        for addr in attachment.ips:
            self._cooling.pop(addr, None)
        self._written()

    def remove(self, key: AttachmentKey, freed: Mapping[IPAddress, float]) -> None:
        """Forget the attachment and remember when its addresses were freed."""
        if self._open and key not in self._attachments and freed.items() <= self._cooling.items():
            return
        self._write()
        self._attachments.pop(key, None)
        self._cooling.update(freed)
        self._written()

    def close(self) -> None:
        """What was written stays for the next :meth:`load`, as a file would."""
        self._open = False

    def _write(self) -> None:
        if not self._open:
            raise StoreError("the store is not open", remedy="load() comes first")
        self.writes += 1
        if self.writes in self.fail_at:
            raise StoreError(f"write {self.writes} fails, as the test asked", remedy="free space there")

    def _written(self) -> None:
        if self.on_write:
            self.on_write(self.writes)
