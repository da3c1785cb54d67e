"""The protocol of the store that keeps a node's attachments over the agent's death (``drivers.store`` implements it).

A store is read once at start and written at each change, before the change takes effect anywhere else. A write has
reached the store when the call returns: an agent killed at the next instruction finds it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from podwire.model.addresses import IPAddress
from podwire.model.attachment import Attachment, AttachmentKey


class StoreState(msgspec.Struct, frozen=True):
    """All that a store holds. *cooling* maps a freed address to when it was freed, seconds since the epoch.

    *recovered* is empty, or tells in one sentence what was found damaged and where it was moved to.
    """

    attachments: Mapping[AttachmentKey, Attachment]
    cooling: Mapping[IPAddress, float]
    recovered: str = ""


class Store(Protocol):
    """Durable until the node reboots."""

    def load(self) -> StoreState:
        """Read everything. Damage is moved aside and told in ``recovered``; StoreTooNew if a newer podwire wrote it."""
        ...

    def put(self, attachment: Attachment) -> None:
        """Record *attachment*, replacing what stood under its key. Raises StoreError and changes nothing on failure."""
        ...

    def remove(self, key: AttachmentKey, freed: Mapping[IPAddress, float]) -> None:
        """Forget the attachment and remember when its addresses were freed, in one step. Idempotent."""
        ...

    def close(self) -> None:
        """Release the lock and the file."""
        ...
