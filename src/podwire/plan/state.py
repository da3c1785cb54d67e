"""The incremental plan: a State that owns its indexes, and step(), which carries it over changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.cluster import AttachmentChanged, Change, Node, NodeChanged, Snapshot, Underlay, UnderlayChanged
from podwire.model.config import Config
from podwire.model.intent import Delta, Intent
from podwire.plan.claims import Claims
from podwire.plan.ledger import BASE, Ledger, attachment_part, node_part
from podwire.plan.node import base, peer, warnings
from podwire.plan.result import Finding
from podwire.plan.wiring import wanted


class State:
    """A node's plan and all that the next change needs to know. step() changes it in place; nobody else does."""

    def __init__(self, node: str, config: Config, snapshot: Snapshot | None = None) -> None:
        """Start from *snapshot*, or from nothing."""
        self.node = node
        self.config = config
        self._ledger = Ledger()
        self._nodes: dict[str, Node] = {}
        self._underlays: Sequence[Underlay] = ()
        self._attachments: dict[AttachmentKey, Attachment] = {}
        self._claims = Claims()
        self._refusals: dict[str, tuple[Finding, ...]] = {}
        if snapshot is not None:
            changes: list[Change] = [UnderlayChanged(snapshot.underlays)]
            changes += [NodeChanged(name, known) for name, known in snapshot.nodes.items()]
            changes += [AttachmentChanged(key, known) for key, known in snapshot.attachments.items()]
            step(self, changes)

    @property
    def intent(self) -> Intent:
        """What should be on the node, after all changes so far. The same object for ever; copy it to keep it."""
        return self._ledger.intent

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Peers that pods here will not reach, and why."""
        return tuple(sorted(finding for found in self._refusals.values() for finding in found))

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What this node itself lacks, and elements that two objects want differently."""
        told = warnings(self.config, self.node, self._nodes.get(self.node), self._underlays)
        return tuple(sorted((*told, *self._ledger.contests())))

    @property
    def peers(self) -> int:
        """How many other nodes there are."""
        return len(self._nodes) - (self.node in self._nodes)

    def snapshot(self) -> Snapshot:
        """What the state stands for; plan() of it is the same Intent."""
        return Snapshot(dict(self._nodes), tuple(self._underlays), dict(self._attachments))

    def advance(self, changes: Iterable[Change]) -> Delta:
        """Take *changes* in, in order, and answer what they change in the Intent."""
        stale: set[str] = set()
        anew = False
        for change in changes:
            match change:
                case NodeChanged(name, node):
                    if self._nodes.get(name) != node:
                        stale |= self._claim(name, node)
                        anew |= name == self.node
                case UnderlayChanged(underlays):
                    anew |= tuple(underlays) != tuple(self._underlays)
                    self._underlays = tuple(underlays)
                case AttachmentChanged(key, attachment):
                    self._attach(key, attachment)
        if anew:
            self._base()
            stale |= self._nodes.keys()
        for name in stale:
            self._peer(name)
        return self._ledger.settle()

    def _claim(self, name: str, node: Node | None) -> set[str]:
        """Enter the node's new self; the names of all whose parts that may change: it, and whom it clashed with or does."""
        before = self._nodes.pop(name, None)
        stale = {name}
        if before is not None:
            self._claims.remove(before)
            stale |= {other for _, _, other in self._claims.clashes(before)}
        if node is not None:
            self._nodes[name] = node
            stale |= {other for _, _, other in self._claims.clashes(node)}
            self._claims.add(node)
        return stale

    def _base(self) -> None:
        me = self._nodes.get(self.node)
        self._ledger.put(BASE, base(self.config, me, self._underlays) if me else ())

    def _peer(self, name: str) -> None:
        me, other = self._nodes.get(self.node), self._nodes.get(name)
        self._refusals.pop(name, None)
        if me is None or other is None or name == self.node:
            self._ledger.put(node_part(name), ())
            return
        part = peer(self.config, me, other, self._underlays, self._claims)
        self._ledger.put(node_part(name), part.wanted)
        if part.refusals:
            self._refusals[name] = part.refusals

    def _attach(self, key: AttachmentKey, attachment: Attachment | None) -> None:
        if attachment is None:
            self._attachments.pop(key, None)
        else:
            self._attachments[key] = attachment
        ready = attachment is not None and attachment.state == "ready"
        self._ledger.put(attachment_part(key), wanted(attachment) if ready and attachment else ())


def step(state: State, changes: Iterable[Change]) -> tuple[State, Delta]:
    """Carry *state* over *changes*, in order; the same state, changed, and what to do about it in the kernel."""
    return state, state.advance(changes)
