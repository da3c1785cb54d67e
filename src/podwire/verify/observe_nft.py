"""The rules of nftables in this namespace, each as the text that ``nft`` shows and the names that it mentions.

Which rules touch a pod is asked of the result: a rule names addresses, networks, devices and sets.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from podwire.verify.observation import SeenRule, SeenSet

_TIMEOUT = 20
_HANDLE = re.compile(r"^(?P<text>.*?)\s*# handle (?P<handle>\d+)$")


def observe() -> tuple[tuple[SeenRule, ...], tuple[SeenSet, ...], str]:
    """All rules and named sets, and what kept us from reading them (empty when nothing did)."""
    try:
        listing = json.loads(_nft("-j", "list", "ruleset"))["nftables"]
        text = _nft("-a", "list", "ruleset")
    except FileNotFoundError:
        return (), (), "the nft program is not installed"
    except (subprocess.SubprocessError, ValueError, KeyError) as error:
        return (), (), f"nft could not list the rules: {error}"
    texts = texts_by_handle(text)
    rules = tuple(_rule(entry["rule"], texts) for entry in listing if "rule" in entry)
    sets = tuple(_set(each) for entry in listing for kind, each in entry.items() if kind in ("set", "map"))
    return rules, sets, ""


def _nft(*arguments: str) -> str:
    return subprocess.run(("nft", *arguments), capture_output=True, text=True, timeout=_TIMEOUT, check=True).stdout


def texts_by_handle(listing: str) -> dict[tuple[str, str, int], str]:
    """The text of each rule by (table, chain, handle), from ``nft -a list ruleset``."""
    found: dict[tuple[str, str, int], str] = {}
    table = chain = ""
    for line in listing.splitlines():
        match = _HANDLE.match(line.strip())
        if match is None:
            continue
        content, handle = match["text"], int(match["handle"])
        words = content.rstrip(" {").split()
        if content.endswith("{") and words[:1] == ["table"]:
            table = " ".join(words[1:])
        elif content.endswith("{") and words[0] in ("chain", "set", "map"):
            chain = words[1] if words[0] == "chain" else ""
        elif chain:
            found[table, chain, handle] = content
    return found


def _rule(rule: dict[str, Any], texts: dict[tuple[str, str, int], str]) -> SeenRule:
    table = f"{rule['family']} {rule['table']}"
    counter: dict[str, int] = next(
        (part["counter"] for part in rule["expr"] if isinstance(part.get("counter"), dict)), {}
    )
    text = texts.get((table, rule["chain"], rule["handle"]), "")
    return SeenRule(
        table=table,
        chain=rule["chain"],
        handle=rule["handle"],
        text=re.sub(r"counter packets \d+ bytes \d+ ?", "", text).strip(),
        names=tuple(sorted(set(_names(rule["expr"])))),
        packets=counter.get("packets"),
        bytes=counter.get("bytes"),
    )


def _set(named: dict[str, Any]) -> SeenSet:
    elements = [_element(element) for element in named.get("elem", [])]
    return SeenSet(f"{named['family']} {named['table']}", named["name"], tuple(e for e in elements if e))


def _element(element: Any) -> str:
    if isinstance(element, list):  # an element of a map: key, value
        return _element(element[0])
    if isinstance(element, dict):
        if "elem" in element:
            return _element(element["elem"]["val"])
        if "prefix" in element:
            return f"{element['prefix']['addr']}/{element['prefix']['len']}"
        if "range" in element:
            return "-".join(str(end) for end in element["range"])
        if "concat" in element:
            return " . ".join(_element(part) for part in element["concat"])
        return ""
    return str(element)


def _names(value: Any) -> list[str]:
    """Every constant that an expression compares with: addresses, networks, devices, ``@set``."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [name for each in value for name in _names(each)]
    if isinstance(value, dict):
        if "prefix" in value or "range" in value:
            return [_element(value)]
        if "match" in value:
            return _names(value["match"].get("right"))
        return [name for key in ("set", "data", "vmap", "elem", "map") if key in value for name in _names(value[key])]
    return []
