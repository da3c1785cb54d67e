"""What planning says beside the Intent: what it will not do, and what looks wrong."""

from __future__ import annotations

import msgspec

from podwire.model.intent import Cause, Intent, Wanted


class Finding(msgspec.Struct, frozen=True, order=True):
    """One sentence about one object (*about*), and what to do (*remedy*)."""

    about: Cause
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.about}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


class PeerPlan(msgspec.Struct, frozen=True):
    """What a backend wants for one peer, and what of that peer it refuses (a dual-stack peer can be half refused)."""

    wanted: tuple[Wanted, ...] = ()
    refusals: tuple[Finding, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """The whole plan of a node.

    *refusals*: peers (or addresses of peers) that pods here will not reach, each with its reason. *warnings*: what is
    carried out but looks wrong, and what is only not there yet. Both sorted, so that two equal plans print the same.
    """

    intent: Intent
    refusals: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
