"""Rules for names, labels and the rest of ``metadata``. Sources: RFC 1123; Kubernetes, "Object Names and IDs"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from podwire.lab.apiserver.errors import Cause, invalid

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
ANNOTATIONS_LIMIT = 256 * 1024

NameRule = Callable[[str], str]
"""Returns what is wrong with a name, or an empty string."""


def dns_label(name: str) -> str:
    """RFC 1123 label: namespaces, container names, ports."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if not _LABEL.fullmatch(name):
        return (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start and end with an alphanumeric character (e.g. 'my-name')"
        )
    return ""


def dns_label_1035(name: str) -> str:
    """RFC 1035 label, which begins with a letter: Services."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if not _LABEL_1035.fullmatch(name):
        return (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name')"
        )
    return ""


def dns_subdomain(name: str) -> str:
    """RFC 1123 subdomain: most kinds."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    if not _SUBDOMAIN.fullmatch(name):
        return (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character (e.g. 'example.com')"
        )
    return ""


def path_segment(name: str) -> str:
    """Anything that can stand in a URL's path."""
    if name in (".", "..") or "/" in name or "%" in name or len(name) > 253:
        return "may not be '.' or '..', contain '/' or '%', or be longer than 253 characters"
    return ""


def qualified_name(name: str) -> str:
    """A label's, annotation's or finalizer's key: ``[prefix/]name``."""
    prefix, slash, part = name.rpartition("/")
    if slash and (dns_subdomain(prefix) or not prefix):
        return "prefix part must be a lowercase RFC 1123 subdomain"
    if not _PART.fullmatch(part) or len(part) > 63:
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', "
            "must start and end with an alphanumeric character, and be no more than 63 characters"
        )
    return ""


def label_value(value: str) -> str:
    """A label's value: empty, or like the name part of a key."""
    if value and (len(value) > 63 or not _PART.fullmatch(value)):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "start and end with an alphanumeric character, and be no more than 63 characters"
        )
    return ""


def data_key(key: str) -> str:
    """A key of a ConfigMap or Secret."""
    if len(key) > 253 or not _DATA_KEY.fullmatch(key) or key in (".", ".."):
        return "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
    return ""


def label_causes(labels: Mapping[str, str], path: str) -> Iterator[Cause]:
    """What is wrong with a map of labels."""
    for key, value in labels.items():
        if problem := qualified_name(key):
            yield invalid(path, key, problem)
        if problem := label_value(value):
            yield invalid(path, value, problem)


def metadata_causes(meta: Mapping[str, Any], rule: NameRule) -> Iterator[Cause]:
    """What is wrong with an object's ``metadata``, its name judged by *rule*."""
    if problem := rule(meta["name"]):
        yield invalid("metadata.name", meta["name"], problem)
    yield from label_causes(meta.get("labels") or {}, "metadata.labels")
    annotations = meta.get("annotations") or {}
    for key in annotations:
        if problem := qualified_name(key.lower()):
            yield invalid("metadata.annotations", key, problem)
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        detail = f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"
        yield Cause("metadata.annotations", detail, "FieldValueTooLong")
    for finalizer in meta.get("finalizers") or ():
        if problem := qualified_name(finalizer):
            yield invalid("metadata.finalizers", finalizer, problem)
    controllers = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        yield invalid(
            "metadata.ownerReferences", len(controllers), "Only one reference can have Controller set to true"
        )
