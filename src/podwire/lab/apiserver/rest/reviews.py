"""Reviews: questions about users and rights, answered from the same table that decides requests."""

from __future__ import annotations

from typing import Any

from podwire.lab.apiserver import authorize
from podwire.lab.apiserver.auth import Authenticator, User
from podwire.lab.apiserver.authorize import Attributes
from podwire.lab.apiserver.kinds.strategy import Object, at
from podwire.lab.apiserver.rest.subresources import checked


def _attributes(spec: Object) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        other = spec.get("nonResourceAttributes") or {}
        return Attributes(str(other.get("verb", "")), path=str(other.get("path", "")) or "/")
    resource = asked.get("resource", "")
    if asked.get("subresource"):
        resource = f"{resource}/{asked['subresource']}"
    given = (asked.get(name, "") for name in ("namespace", "name"))
    return Attributes(asked.get("verb", ""), asked.get("group", ""), resource, *given)


def _verdict(user: User, wanted: Attributes) -> Object:
    if authorize.allowed(user, wanted):
        return {"allowed": True, "reason": f'a rule for "{user.name}" allows it'}
    return {"allowed": False, "reason": authorize.refusal(user, wanted)}


def review(kind: str, user: User, authenticator: Authenticator, body: Any) -> Object:
    """The answer to a review of *kind*; ApiError 400 or 422 when the question is malformed."""
    obj = checked(kind, body)
    spec = obj.get("spec") or {}
    match kind:
        case "SelfSubjectAccessReview":
            obj["status"] = _verdict(user, _attributes(spec))
        case "SubjectAccessReview":
            subject = User(str(spec.get("user", "")), tuple(spec.get("groups") or ()))
            obj["status"] = _verdict(subject, _attributes(spec))
        case "SelfSubjectRulesReview":
            obj["status"] = _rules(user)
        case "SelfSubjectReview":
            obj["status"] = {"userInfo": _user(user)}
        case "TokenReview":
            found = authenticator.of_token(str(at(obj, "spec.token", "")))
            obj["spec"] = {"token": ""}
            obj["status"] = {"authenticated": False, "error": "the token is not known"}
            if found is not None:
                obj["status"] = {"authenticated": True, "user": _user(found)}
    obj.setdefault("metadata", {})
    return obj


def _user(user: User) -> Object:
    return {"username": user.name, "groups": list(user.groups)}


def _rules(user: User) -> Object:
    rules = [
        {
            "verbs": list(rule.verbs),
            "apiGroups": [rule.group],
            "resources": list(rule.resources),
            **({"resourceNames": [rule.name]} if rule.name else {}),
        }
        for rule in authorize.rules_of(user)
    ]
    paths = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
    ]
    return {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}],
        "incomplete": False,
    }
