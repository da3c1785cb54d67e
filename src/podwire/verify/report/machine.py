"""A proof as JSON and as JUnit XML. Pure."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from podwire.verify.proof import Proof
from podwire.verify.values import GUARANTEES, Judged

_XML_REFUSES = {code: None for code in range(0x20) if code not in (0x9, 0xA, 0xD)}


def to_json(proof: Proof) -> str:
    """Everything: verdicts, findings, checks, and each flow with its evidence."""
    document: dict[str, Any] = {
        "apiVersion": "podwire.io/v1alpha1",
        "kind": "Proof",
        "proven": proof.exit_status == 0,
        "verdicts": [
            {"guarantee": v.guarantee, "title": GUARANTEES[v.guarantee], "status": v.status, "sentence": v.sentence}
            for v in proof.verdicts
        ],
        "findings": proof.findings,
        "coverage": {**msgspec.to_builtins(proof.coverage), "sentence": str(proof.coverage)},
        "nodes": proof.nodes,
        "checks": proof.checks,
        "flows": [_flow(each) for each in proof.judged],
        "captures": proof.captures,
        "seconds": round(proof.seconds, 3),
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def _flow(each: Judged) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(each.flow),
        "outcome": each.outcome,
        "sentence": each.sentence,
        "evidence": each.evidence,
    }


def to_junit(proof: Proof) -> str:
    """A test suite per guarantee, a test case per flow and check; what is not proven is an error, not a failure."""
    suites = [_suite(proof, number, title) for number, title in GUARANTEES.items()]
    return "\n".join(
        ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites name="podwire verify">', *suites, "</testsuites>"]
    )


def _suite(proof: Proof, number: int, title: str) -> str:
    cases: list[tuple[str, str, str]] = [
        (f"{check.name}: {check.where}", {True: "", False: "failure", None: "error"}[check.ok], check.sentence)
        for check in proof.checks
        if check.guarantee == number
    ]
    cases += [
        (each.flow.name, "" if each.ok else ("error" if each.outcome == "unproven" else "failure"), each.sentence)
        for each in proof.judged
        if (3 if each.flow.kind == "node" else 2) == number
    ]
    verdict = next(verdict for verdict in proof.verdicts if verdict.guarantee == number)
    kind = {"proven": "", "broken": "failure", "not proven": "error"}[verdict.status]
    remedies = "\n".join(f"{f.sentence}\n→ {f.remedy}" for f in proof.findings if f.guarantee in (0, number))
    cases.append((f"verdict: {title}", kind, f"{verdict.sentence}\n{remedies}".strip()))
    counts = {wanted: sum(kind == wanted for _, kind, _ in cases) for wanted in ("failure", "error")}
    head = (
        f'<testsuite name={_attribute(f"guarantee {number}: {title}")} tests="{len(cases)}" '
        f'failures="{counts["failure"]}" errors="{counts["error"]}" time="{proof.seconds:.3f}">'
    )
    return "\n".join([head, *(_case(number, *case) for case in cases), "</testsuite>"])


def _case(number: int, name: str, kind: str, sentence: str) -> str:
    head = f'<testcase classname="podwire.verify.guarantee{number}" name={_attribute(name)}'
    if not kind:
        return head + "/>"
    first = sentence.partition("\n")[0]
    return f"{head}><{kind} message={_attribute(first)}>{escape(_clean(sentence))}</{kind}></testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    return text.translate(_XML_REFUSES)
