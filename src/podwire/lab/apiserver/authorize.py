"""Who may do what: a short table of rules by user, instead of RBAC objects. What no rule allows is refused.

A node may read what an agent and a kubelet need, and write what is its own; the part of that which depends on the
object itself is in :mod:`.admission`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from podwire.lab.apiserver.auth import ADMIN_GROUP, AUTHENTICATED, User

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
CHANGE = ("update", "patch")
ALL = ("*",)

CONTROLLER = "system:podwire-controller"
MANAGER = "system:kube-controller-manager"

_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_DISCOVERY = ("/api", "/apis", "/openapi")


class Attributes(NamedTuple):
    """What a request wants to do. *resource* includes the subresource (``pods/status``); *path* is set for other URLs."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Rule(NamedTuple):
    """Allows *verbs* on *resources* of *group*; ``*`` stands for any. *name* limits it to one object."""

    verbs: tuple[str, ...]
    group: str
    resources: tuple[str, ...]
    name: str = ""

    def allows(self, wanted: Attributes) -> bool:
        """Whether the rule covers the request."""
        return (
            (wanted.verb in self.verbs or self.verbs == ALL)
            and self.group in (wanted.group, "*")
            and (wanted.resource in self.resources or self.resources == ALL)
            and self.name in ("", wanted.name)
        )


_SELF = (
    Rule(("create",), "authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
    Rule(("create",), "authentication.k8s.io", ("selfsubjectreviews",)),
)
_REVIEWS = (
    Rule(("create",), "authentication.k8s.io", ("tokenreviews",)),
    Rule(("create",), "authorization.k8s.io", ("subjectaccessreviews",)),
)
_EVENTS = (
    Rule(("create", *CHANGE), "", ("events",)),
    Rule(("create", *CHANGE), "events.k8s.io", ("events",)),
)
_CLUSTER_READ = (
    Rule(READ, "", ("nodes", "pods", "services", "endpoints", "namespaces", "configmaps", "serviceaccounts")),
    Rule(READ, "discovery.k8s.io", ("endpointslices",)),
    Rule(READ, "networking.k8s.io", ("networkpolicies",)),
    Rule(READ, "apiextensions.k8s.io", ("customresourcedefinitions",)),
    Rule(READ, "podwire.io", ALL),
)
_CONTROLLER_RULES = (
    *_CLUSTER_READ,
    *_EVENTS,
    *_REVIEWS,
    Rule(CHANGE, "", ("nodes", "nodes/status", "services/status")),
    Rule((*READ, *WRITE), "coordination.k8s.io", ("leases",)),
    Rule((*READ, *WRITE), "podwire.io", ALL),
    Rule(("create", *CHANGE), "apiextensions.k8s.io", ("customresourcedefinitions",)),
)
_MANAGER_RULES = (
    Rule(READ, "*", ALL),
    *_EVENTS,
    *_REVIEWS,
    Rule(
        WRITE,
        "",
        (
            *("pods", "pods/status", "pods/binding", "pods/eviction", "nodes", "nodes/status"),
            *("namespaces", "namespaces/status", "namespaces/finalize", "serviceaccounts", "configmaps"),
            *("endpoints", "services", "services/status"),
        ),
    ),
    Rule(WRITE, "apps", ALL),
    Rule(WRITE, "discovery.k8s.io", ALL),
    Rule(WRITE, "coordination.k8s.io", ALL),
)


def _node_rules(node: str) -> tuple[Rule, ...]:
    return (
        *_CLUSTER_READ,
        *_EVENTS,
        *_REVIEWS,
        Rule(("create",), "", ("nodes",)),
        Rule(CHANGE, "", ("nodes", "nodes/status"), node),
        Rule(CHANGE, "", ("pods/status",)),
        Rule(("delete",), "", ("pods",)),
        Rule(("create",), "coordination.k8s.io", ("leases",)),
        Rule(("get", *CHANGE, "delete"), "coordination.k8s.io", ("leases",), node),
    )


def rules_of(user: User) -> tuple[Rule, ...]:
    """The rules that apply to *user*."""
    if AUTHENTICATED not in user.groups:
        return ()
    if ADMIN_GROUP in user.groups:
        return (Rule(ALL, "*", ALL),)
    if user.node:
        return (*_SELF, *_node_rules(user.node))
    by_name = {CONTROLLER: _CONTROLLER_RULES, MANAGER: _MANAGER_RULES}
    return (*_SELF, *by_name.get(user.name, ()))


def allowed(user: User, wanted: Attributes) -> bool:
    """Whether *user* may do what is *wanted*."""
    if wanted.path:
        return wanted.verb == "get" and (
            _below(wanted.path, _PUBLIC)
            or (AUTHENTICATED in user.groups and _below(wanted.path, _DISCOVERY))
            or ADMIN_GROUP in user.groups
        )
    return any(rule.allows(wanted) for rule in rules_of(user))


def _below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def refusal(user: User, wanted: Attributes) -> str:
    """Kubernetes' sentence for a refusal."""
    if wanted.path:
        return f'User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {wanted.verb} resource "{wanted.resource}" in API group "{wanted.group}" {where}'
