"""Whether an attachment is dead: never on one witness alone, since freeing a live pod's address breaks two pods.

Two of these three must say so:

* the runtime, which no longer lists it at GC (runtimes have lost their state before);
* the cluster: no such pod is meant to run on this node;
* the kernel: the host end of the veth pair is gone, which dies with the pod's namespace, and the path of the namespace
  leads nowhere, or to another one.
"""

from __future__ import annotations

from collections.abc import Collection

from podwire.cni import sandbox
from podwire.model.attachment import Attachment, PodRef


def proof(attachment: Attachment, *, unlisted: bool, has_link: bool, running: Collection[PodRef] | None) -> str:
    """The two or more witnesses that say *attachment* is dead, as a sentence; empty while there are fewer.

    *unlisted*: whether the runtime gave a list that lacks it. *has_link*: whether its host end exists. *running*: the
    pods that should run on this node, None when the cluster cannot be asked.
    """
    witnesses = ["the runtime does not list it"] if unlisted else []
    if running is not None and attachment.pod is not None and not _runs(attachment.pod, running):
        witnesses.append(f"pod {attachment.pod} is not meant to run on this node")
    if not has_link and not sandbox.stands(attachment):
        witnesses.append("its network namespace and its host link are gone")
    return ", and ".join(witnesses) if len(witnesses) > 1 else ""


def _runs(pod: PodRef, running: Collection[PodRef]) -> bool:
    """By uid where both sides know it: a namesake made later is another pod."""
    return any(
        (pod.namespace, pod.name) == (other.namespace, other.name)
        and (not (pod.uid and other.uid) or pod.uid == other.uid)
        for other in running
    )
