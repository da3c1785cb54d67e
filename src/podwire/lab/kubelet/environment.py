"""A container's environment and command line: downward API, ConfigMaps, Secrets, $(NAME) references. Pure.

Source: Kubernetes, "Define Dependent Environment Variables" and "Expose Pod Information … Through Environment
Variables"; expansion as in k8s.io/kubernetes/third_party/forked/golang/expansion.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from podwire.lab.kubelet.objects import Container, EnvVar, KeyRef, Pod
from podwire.model.errors import InputError

_REFERENCE = re.compile(r"\$(?:\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class PodFacts(msgspec.Struct, frozen=True):
    """What is known of a pod only where it runs."""

    node: str
    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...]


class Sources(msgspec.Struct, frozen=True):
    """The ConfigMaps and Secrets that a pod refers to, as the API gave them; absent ones are missing."""

    config_maps: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=dict)

    def content(self, kind: str, name: str) -> dict[str, bytes] | None:
        """The keys of a "configmap" or "secret"; None when it does not exist."""
        found = (self.config_maps if kind == "configmap" else self.secrets).get(name)
        if found is None:
            return None
        plain = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
        coded = found.get("data") if kind == "secret" else found.get("binaryData")
        return plain | {key: base64.b64decode(str(value)) for key, value in (coded or {}).items()}


def references(pod: Pod) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and of the Secrets that a pod needs."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for container in pod.all_containers:
        for variable in container.env:
            source = variable.value_from
            if source and source.config_map_key_ref:
                maps.add(source.config_map_key_ref.name)
            if source and source.secret_key_ref:
                secrets.add(source.secret_key_ref.name)
        for whole in container.env_from:
            if whole.config_map_ref:
                maps.add(whole.config_map_ref.name)
            if whole.secret_ref:
                secrets.add(whole.secret_ref.name)
    maps |= {volume.config_map.name for volume in pod.spec.volumes if volume.config_map}
    secrets |= {volume.secret.secret_name for volume in pod.spec.volumes if volume.secret}
    return maps, secrets


def field(pod: Pod, facts: PodFacts, path: str) -> str:
    """A field of the downward API; InputError for one that is not exposed."""
    meta, spec = pod.metadata, pod.spec
    known: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: meta.name,
        "metadata.namespace": lambda: meta.namespace,
        "metadata.uid": lambda: meta.uid,
        "spec.nodeName": lambda: facts.node,
        "spec.serviceAccountName": lambda: spec.service_account_name or "default",
        "status.hostIP": lambda: next(iter(facts.host_ips), ""),
        "status.hostIPs": lambda: ",".join(facts.host_ips),
        "status.podIP": lambda: next(iter(facts.pod_ips), ""),
        "status.podIPs": lambda: ",".join(facts.pod_ips),
    }
    if keyed := _KEYED.fullmatch(path):
        return (meta.labels if keyed[1] == "labels" else meta.annotations).get(keyed[2], "")
    if path not in known:
        raise InputError("fieldRef.fieldPath", path, "is not a field of the downward API")
    return known[path]()


def environment(pod: Pod, container: Container, facts: PodFacts, sources: Sources, path: str) -> dict[str, str]:
    """Every variable of a container. *path* is its PATH unless it sets one. InputError names what is missing."""
    env = {"PATH": path, "HOSTNAME": hostname(pod), "HOME": "/root", "PYTHONUNBUFFERED": "1"}
    for whole in container.env_from:
        for kind, ref in (("configmap", whole.config_map_ref), ("secret", whole.secret_ref)):
            if ref is None:
                continue
            content = sources.content(kind, ref.name)
            if content is None and not ref.optional:
                raise InputError("envFrom", ref.name, f"there is no such {kind}")
            env |= {whole.prefix + key: value.decode(errors="replace") for key, value in (content or {}).items()}
    for variable in container.env:
        value = _value(pod, variable, facts, sources, env)
        if value is not None:
            env[variable.name] = value
    return env


def _value(pod: Pod, variable: EnvVar, facts: PodFacts, sources: Sources, env: Mapping[str, str]) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, env)
    if source.field_ref:
        return field(pod, facts, source.field_ref.field_path)
    if source.config_map_key_ref:
        return _key("configmap", source.config_map_key_ref, sources, variable.name)
    if source.secret_key_ref:
        return _key("secret", source.secret_key_ref, sources, variable.name)
    raise InputError(f"env {variable.name}", None, "resourceFieldRef means nothing here: the lab meters no resources")


def _key(kind: str, ref: KeyRef, sources: Sources, variable: str) -> str | None:
    content = sources.content(kind, ref.name)
    if content is not None and ref.key in content:
        return content[ref.key].decode(errors="replace")
    if ref.optional:
        return None
    what = f"there is no such {kind}" if content is None else f"{kind} {ref.name} has no such key"
    raise InputError(f"env {variable}", ref.name if content is None else ref.key, what)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; ``$$`` is a dollar sign, and a reference to nothing stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] is None else env.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def expand_all(words: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Expand each of *words*."""
    return [expand(word, env) for word in words]


def hostname(pod: Pod) -> str:
    """What the pod calls itself, at most 63 characters (RFC 1123)."""
    return pod.spec.hostname or pod.metadata.name[:63].rstrip("-.")
