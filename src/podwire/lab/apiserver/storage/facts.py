"""What selectors choose by: an object's labels and selectable fields, and selectors over them.

Sources: Kubernetes, "Labels and Selectors" and "Field Selectors".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from podwire.lab.apiserver import errors

Match = Callable[["Facts"], bool]


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """The labels of an object and its selectable fields, ``metadata.name`` and ``metadata.namespace`` not repeated."""

    labels: dict[str, str]
    fields: dict[str, str]


class Selection(NamedTuple):
    """A list's or watch's choice: *name* and *namespace* narrow the query itself, *match* does the rest (None: all)."""

    namespace: str | None = None
    name: str | None = None
    match: Match | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Facts).decode


def encode(facts: Facts) -> bytes:
    """The stored form."""
    return _encode(facts)


def decode(data: bytes) -> Facts:
    """The stored form, read back."""
    return _decode(data)


_LABEL_SET = re.compile(r"\s*([\w./-]+)\s+(in|notin)\s*\(([^()]*)\)\s*")
_LABEL_EQUAL = re.compile(r"\s*([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)\s*")
_LABEL_EXISTS = re.compile(r"\s*(!?)\s*([\w./-]+)\s*")


def _label_term(text: str) -> Match:
    if found := _LABEL_SET.fullmatch(text):
        key, operator = found[1], found[2]
        values = frozenset(value.strip() for value in found[3].split(","))
        if operator == "in":
            return lambda facts: facts.labels.get(key) in values
        return lambda facts: facts.labels.get(key) not in values
    if found := _LABEL_EQUAL.fullmatch(text):
        key, operator, value = found[1], found[2], found[3]
        if operator == "!=":
            return lambda facts: facts.labels.get(key) != value
        return lambda facts: facts.labels.get(key) == value
    if found := _LABEL_EXISTS.fullmatch(text):
        key, wanted = found[2], not found[1]
        return lambda facts: (key in facts.labels) is wanted
    raise errors.bad_request(
        f"unable to parse requirement: {text.strip()!r} is not a label selector such as a=b, a!=b, a in (b,c) or !a"
    )


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    terms, depth, start = [], 0, 0
    for index, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and not depth:
            terms.append(text[start:index])
            start = index + 1
    terms.append(text[start:])
    return [term for term in terms if term.strip()]


def label_matches(text: str) -> list[Match]:
    """The predicates of a ``labelSelector`` parameter; all must hold. ApiError 400 when it cannot be parsed."""
    return [_label_term(term) for term in _split(text)]


def _field_equals(key: str, value: str) -> Match:
    return lambda facts: facts.fields.get(key, "") == value


def _field_differs(key: str, value: str) -> Match:
    return lambda facts: facts.fields.get(key, "") != value


def _unescaped(value: str) -> str:
    return re.sub(r"\\([\\,=])", r"\1", value)


def select(
    namespace: str | None, name: str | None, labels: str, fields: str, selectable: Mapping[str, str] | frozenset[str]
) -> Selection:
    """Combine what a request selects by. *selectable* are the kind's field labels beside name and namespace.

    ApiError 400 for a selector that cannot be parsed or a field that the kind does not offer.
    """
    matches = label_matches(labels) if labels else []
    for term in re.split(r"(?<!\\),", fields) if fields else ():
        found = re.fullmatch(r"\s*([^=!]+?)\s*(==|=|!=)\s*(.*?)\s*", term)
        if found is None:
            raise errors.bad_request(f"invalid field selector {term!r}: expected field=value or field!=value")
        key, operator, value = found[1], found[2], _unescaped(found[3])
        if key == "metadata.name" and operator != "!=" and name in (None, value):
            name = value
        elif key == "metadata.namespace" and operator != "!=" and namespace in (None, value):
            namespace = value
        elif key in selectable or key in ("metadata.name", "metadata.namespace"):
            matches.append(_field_differs(key, value) if operator == "!=" else _field_equals(key, value))
        else:
            raise errors.bad_request(f'field label not supported: "{key}"')
    if not matches:
        return Selection(namespace, name)
    if len(matches) == 1:
        return Selection(namespace, name, matches[0])
    return Selection(namespace, name, lambda facts: all(match(facts) for match in matches))
