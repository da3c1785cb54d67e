"""The dispatcher: a raw request in, an answer out, whatever happens.

The only place that turns requests into calls and errors into CNI's JSON, so that no verb thinks about either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from podwire.cni import codes, result
from podwire.cni.attachments import Attachments
from podwire.cni.configuration import version_of
from podwire.cni.protocol import RawRequest
from podwire.cni.request import (
    COMMANDS,
    AddRequest,
    CheckRequest,
    DelRequest,
    GcRequest,
    Request,
    StatusRequest,
    parse,
)
from podwire.model.attachment import Attachment
from podwire.model.errors import CniError, PodwireError
from podwire.plan.wiring import pod_wiring

_LOG = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What the binary prints, and the error's code (0: success)."""

    code: int = 0
    body: bytes = b""

    @property
    def status(self) -> int:
        """The binary's exit status."""
        return 1 if self.code else 0


class Verbs:
    """Serves requests on *attachments*."""

    def __init__(
        self,
        attachments: Attachments,
        *,
        observe: Callable[[str, int, float], None] = lambda verb, code, seconds: None,
    ) -> None:
        """*observe* is told of each request: the verb (or ``unknown``), the error's code (0: success), the seconds."""
        self._attachments = attachments
        self._observe = observe

    async def serve(self, raw: RawRequest, netns: int | None, *, asked_at: float | None = None) -> Answer:
        """Carry out *raw*. *netns* is the pod's namespace if the binary could open it; the caller closes it.

        *asked_at* is when a DEL was spooled, seconds since the epoch. Raises nothing but BaseExceptions.
        """
        began = time.perf_counter()
        command = raw.env.get("CNI_COMMAND", "")
        try:
            request = parse(raw)
            if isinstance(request, DelRequest) and asked_at is not None:
                request = DelRequest(request.key, asked_at)
            answer = Answer(body=await self._carry_out(request, raw, netns))
        except PodwireError as error:
            answer = _refusal(codes.as_cni_error(error), raw)
            _LOG.warning("%s %s: %s", *map(_printable, (command, raw.env.get("CNI_CONTAINERID", ""), error)))
        except Exception as error:
            _LOG.exception("%s %s failed", _printable(command), _printable(raw.env.get("CNI_CONTAINERID", "")))
            message = f"internal error in podwire's agent: {type(error).__name__}"
            answer = _refusal(
                CniError(codes.INTERNAL, message, "the agent's log has the details; please report it"), raw
            )
        self._observe(command if command in COMMANDS else "unknown", answer.code, time.perf_counter() - began)
        return answer

    async def _carry_out(self, request: Request, raw: RawRequest, netns: int | None) -> bytes:
        attachments = self._attachments
        match request:
            case AddRequest():
                attachment = await attachments.add(request, netns)
                _LOG.info("ADD %s: %s", attachment.owner, ", ".join(map(str, attachment.ips)))
                return _result(request, attachment, version_of(raw.stdin))
            case DelRequest():
                removed = await attachments.delete(request)
                if removed is not None:
                    _LOG.info("DEL %s: %s", removed.owner, ", ".join(map(str, removed.ips)))
            case CheckRequest():
                await attachments.check(request, netns)
            case GcRequest():
                report = await attachments.gc(request)
                for key, reason in report.removed.items():
                    _LOG.info("GC removed %s: %s", key, reason)
                for key in report.kept:
                    _LOG.warning("GC kept %s: the runtime does not list it, but nobody else says that it is dead", key)
            case StatusRequest():
                attachments.status(request)
        return b""


def _printable(value: object) -> str:
    """Text from a stranger for the log: undecodable bytes and control characters escaped, and not endless."""
    text = str(value)[:300]
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def _result(request: AddRequest, attachment: Attachment, version: str) -> bytes:
    # A repeated ADD may name the same namespace by another path; the answer is to repeat the one that was given.
    named = msgspec.structs.replace(attachment, netns=request.netns)
    ours = result.describe(named, pod_wiring(named))
    return result.encode(result.merge(request.previous, ours) if request.previous else ours, version)


def _refusal(error: CniError, raw: RawRequest) -> Answer:
    return Answer(error.code, result.encode_error(error, version_of(raw.stdin)))
