"""In which form a client wants the answer, and in which it sent the question."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import msgspec

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.schema import protobuf
from podwire.lab.apiserver.schema.model import Schema

JSON = "application/json"
YAML = "application/yaml"
DISCOVERY_GROUP = "apidiscovery.k8s.io"


class Form(Enum):
    """The transformation that ``as=`` asks for."""

    PLAIN = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"
    DISCOVERY = "APIGroupDiscoveryList"


class Accepted(NamedTuple):
    """The best of what a client accepts that we can serve; *version* is that of the form's own group."""

    form: Form
    version: str = ""


def accepted(header: str) -> Accepted:
    """Choose from an ``Accept`` header, in the client's order. ApiError 406 when nothing fits."""
    if not header:
        return Accepted(Form.PLAIN)
    for item in header.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        options = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media not in (JSON, "*/*", "application/*", "text/plain", YAML):
            continue
        wanted, version = options.get("as", ""), options.get("v", "")
        if wanted == Form.DISCOVERY.value and options.get("g") == DISCOVERY_GROUP and version in ("v2", "v2beta1"):
            return Accepted(Form.DISCOVERY, version)
        if wanted in (Form.TABLE.value, Form.METADATA.value, Form.METADATA_LIST.value) and version == "v1":
            return Accepted(Form(wanted), version)
        if not wanted:
            return Accepted(Form.PLAIN)
    raise errors.not_acceptable(header)


def decode_body(body: bytes, content_type: str, schema: Schema) -> Any:
    """A request's body as plain values, None when it is empty; protobuf needs the *schema*. ApiError 400 or 415."""
    media = content_type.partition(";")[0].strip().lower()
    if not body:
        return None
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode(body, schema)
    if media.endswith("+yaml") or media in (YAML, "text/yaml", "application/x-yaml"):
        return _yaml(body)
    if media and not media.endswith("json") and media != "application/octet-stream":
        raise errors.unsupported_media(media, (JSON, YAML, protobuf.MEDIA_TYPE))
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise errors.bad_request(f"the request body is not valid JSON: {error}") from error


def _yaml(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)  # kubectl sends JSON under this name, and JSON is YAML
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    import yaml

    try:
        loaded = yaml.safe_load(body)
        return msgspec.json.decode(msgspec.json.encode(loaded))  # times and odd keys become plain strings
    except (yaml.YAMLError, RecursionError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise errors.bad_request(f"the request body is not valid YAML: {error}") from error
