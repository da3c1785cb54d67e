"""Whether an attachment is dead: never on one witness alone, since freeing a live pod's address breaks two pods.

The runtime that no longer lists an attachment is the first witness (runtimes have lost their state before). The second
is one of

* the cluster: no such pod is meant to run on this node;
* the kernel: the host end of the veth pair is gone, which dies with the pod's namespace, and the path of the namespace
  leads nowhere, or to another one.
"""

from __future__ import annotations

from collections.abc import Collection

from podwire.cni import sandbox
from podwire.model.attachment import Attachment, PodRef


def second_witness(attachment: Attachment, *, has_link: bool, running: Collection[PodRef] | None) -> str:
    """Who else says that *attachment* is dead, as half a sentence; empty when nobody does.

    *has_link*: whether its host end exists. *running*: the pods that should run on this node, None when the cluster
    cannot be asked.
    """
    if running is not None and attachment.pod is not None and not _runs(attachment.pod, running):
        return f"pod {attachment.pod} is not meant to run on this node"
    if not has_link and not sandbox.stands(attachment):
        return "its network namespace and its host link are gone"
    return ""


def _runs(pod: PodRef, running: Collection[PodRef]) -> bool:
    """By uid where both sides know it: a namesake made later is another pod."""
    return any(
        (pod.namespace, pod.name) == (other.namespace, other.name)
        and (not (pod.uid and other.uid) or pod.uid == other.uid)
        for other in running
    )
