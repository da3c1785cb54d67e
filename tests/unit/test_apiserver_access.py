"""Who may do what: tokens, the table of rules, nodes kept to their own, and the files that hold secrets."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from podwire.lab.apiserver.auth import ADMIN_GROUP, ANONYMOUS, AUTHENTICATED, Authenticator, User
from podwire.lab.apiserver.authorize import CONTROLLER, MANAGER, Attributes, allowed
from podwire.lab.apiserver.pki import add_node, prepare, remove_node
from tests.support.apiserver import PODS, Running, node, pod, running

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NODES = "/api/v1/nodes"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as made:
        yield made


ADMIN = User("admin", (ADMIN_GROUP, AUTHENTICATED))
NODE = User("system:node:n1", ("system:nodes", AUTHENTICATED))
FALSE_NODE = User("system:node:n1", (AUTHENTICATED,))
CONTROL, MANAGE = User(CONTROLLER, (AUTHENTICATED,)), User(MANAGER, (AUTHENTICATED,))
UNKNOWN = User("somebody", (AUTHENTICATED,))
APPS, LEASE = "apps", "coordination.k8s.io"


@pytest.mark.parametrize(
    ("user", "wanted", "answer"),
    [
        (ADMIN, Attributes("delete", "", "secrets", "x", "y"), True),
        (ADMIN, Attributes("get", path="/metrics"), True),
        (User("admin", (ADMIN_GROUP,)), Attributes("get", "", "pods"), False),  # never authenticated
        (NODE, Attributes("list", "", "pods"), True),
        (NODE, Attributes("list", "", "secrets"), False),
        (NODE, Attributes("get", "", "secrets", "default", "s"), False),
        (NODE, Attributes("patch", "", "nodes/status", "", "n1"), True),
        (NODE, Attributes("patch", "", "nodes/status", "", "n2"), False),
        (NODE, Attributes("delete", "", "nodes", "", "n1"), False),
        (NODE, Attributes("create", "", "pods", "default"), False),
        (NODE, Attributes("create", "", "pods/binding", "default", "p"), False),
        (NODE, Attributes("create", "", "pods/exec", "default", "p"), False),
        (NODE, Attributes("update", LEASE, "leases", "kube-node-lease", "n1"), True),
        (NODE, Attributes("update", LEASE, "leases", "kube-node-lease", "n2"), False),
        (NODE, Attributes("create", "", "events", "default"), True),
        (NODE, Attributes("list", "podwire.io", "pools"), True),
        (NODE, Attributes("update", "podwire.io", "pools", "", "a"), False),
        (FALSE_NODE, Attributes("list", "", "pods"), False),
        (CONTROL, Attributes("patch", "", "nodes", "", "n1"), True),
        (CONTROL, Attributes("delete", "", "pods", "x", "y"), False),
        (CONTROL, Attributes("create", "podwire.io", "pools"), True),
        (CONTROL, Attributes("get", "", "secrets", "x", "y"), False),
        (MANAGE, Attributes("create", "", "pods/binding", "x", "y"), True),
        (MANAGE, Attributes("update", APPS, "deployments/status", "x", "y"), True),
        (MANAGE, Attributes("create", "", "pods/exec", "x", "y"), False),
        (MANAGE, Attributes("delete", "", "secrets", "x", "y"), False),
        (UNKNOWN, Attributes("get", "", "pods"), False),
        (UNKNOWN, Attributes("create", "authorization.k8s.io", "selfsubjectaccessreviews"), True),
        (UNKNOWN, Attributes("get", path="/apis/apps/v1"), True),
        (UNKNOWN, Attributes("get", path="/apisx"), False),
        (ANONYMOUS, Attributes("get", path="/readyz"), True),
        (ANONYMOUS, Attributes("get", path="/apis"), False),
        (ANONYMOUS, Attributes("get", "", "pods"), False),
    ],
)
def test_the_table(user: User, wanted: Attributes, answer: bool) -> None:
    assert allowed(user, wanted) is answer


async def test_without_a_token_only_health_and_version_are_shown(server: Running) -> None:
    nobody = server.user(None)
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await nobody.get(path)
        assert (answer.status, answer.body) == (200, "ok")
    assert (await nobody.get("/version")).body["gitVersion"] == "v1.34.0-podwire-lab"
    assert (await nobody.get(PODS)).status == 401
    assert (await nobody.get("/apis")).status == 403
    for token in ("wrong", "", "a b", "\xff", "x" * 5000):
        wrong = await server.with_token(token or " ").get(PODS)
        assert (wrong.status, wrong.body["reason"]) == (401, "Unauthorized")


async def test_refusals_say_who_may_not_do_what(server: Running) -> None:
    refused = await server.node("n1").post(PODS, pod("a"))
    assert refused.status == 403
    assert refused.body["message"] == (
        'pods is forbidden: User "system:node:n1" cannot create resource "pods" in API group "" in the namespace "default"'
    )
    assert (await server.node("n1").get("/api/v1/unicorns")).status == 403  # fails closed before it is looked up


async def test_a_node_writes_its_own_node_alone(server: Running) -> None:
    one, two = server.node("n1"), server.node("n2")
    assert (await one.post(NODES, node("n2"))).status == 403
    assert (await one.post(NODES, node("n1", podCIDRs=["10.0.0.0/24"]))).status == 403
    assert (await one.post(NODES, node("n1"))).status == 201
    assert (await two.patch(f"{NODES}/n1/status", {"status": {}})).status == 403
    ready = {
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        "metadata": {"annotations": {"podwire.io/x": "1"}},
    }
    changed = await one.patch(f"{NODES}/n1/status", ready)
    assert changed.status == 200 and changed.body["metadata"]["annotations"] == {"podwire.io/x": "1"}
    for change in (
        {"spec": {"podCIDRs": ["10.0.0.0/24"]}},
        {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
        {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}},
    ):
        assert (await one.patch(f"{NODES}/n1", change)).status == 403
    assert (await one.delete(f"{NODES}/n1")).status == 403


async def test_a_node_ends_and_reports_its_own_pods_alone(server: Running) -> None:
    await server.admin.post(PODS, pod("a"))
    one, two = server.node("n1"), server.node("n2")
    assert (await one.patch(f"{PODS}/a/status", {"status": {"phase": "Running"}})).status == 403  # not bound yet
    await server.admin.post(f"{PODS}/a/binding", {"target": {"name": "n1"}})
    assert (await two.patch(f"{PODS}/a/status", {"status": {"phase": "Failed"}})).status == 403
    assert (await two.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})).status == 403
    assert (await two.delete(PODS)).status == 403
    assert (await one.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "1"}}})).status == 403
    assert (await one.patch(f"{PODS}/a/status", {"status": {"phase": "Running"}})).body["status"]["phase"] == "Running"
    assert (await one.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})).status == 200


async def test_a_node_renews_the_lease_of_its_own_name(server: Running) -> None:
    one = server.node("n1")
    assert (await one.post(LEASES, {"metadata": {"name": "n2"}})).status == 403
    assert (await one.post(LEASES, {"metadata": {"name": "n1"}, "spec": {"leaseDurationSeconds": 40}})).status == 201
    assert (await one.patch(f"{LEASES}/n1", {"spec": {"renewTime": "2026-01-01T00:00:00.000001Z"}})).status == 200
    assert (await server.node("n2").patch(f"{LEASES}/n1", {"spec": {}})).status == 403


async def test_reviews_answer_as_requests_are_decided(server: Running) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    question = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}}}
    assert (await server.admin.post(path, question)).body["status"]["allowed"] is True
    refused = (await server.node("n1").post(path, question)).body["status"]
    assert refused["allowed"] is False and "cannot create" in refused["reason"]
    token = json.loads(server.files.nodes["n1"].kubeconfig.read_text())["users"][0]["user"]["token"]
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    known = (await server.node("n2").post(reviews, {"spec": {"token": token}})).body
    assert known["status"]["user"]["username"] == "system:node:n1" and known["spec"] == {"token": ""}
    unknown = (await server.admin.post(reviews, {"spec": {"token": "x"}})).body
    assert unknown["status"]["authenticated"] is False
    assert (await server.admin.post(path, {"spec": {"resourceAttributes": "pods"}})).status == 422
    whoami = await server.node("n1").post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert whoami.body["status"]["userInfo"]["username"] == "system:node:n1"
    rules = await server.node("n1").post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {}})
    assert any(rule["resources"] == ["nodes", "nodes/status"] for rule in rules.body["status"]["resourceRules"])


async def test_a_node_that_comes_and_goes_while_the_server_runs(server: Running, tmp_path: Path) -> None:
    credentials = add_node(tmp_path, "n9", server=server.url, addresses=["10.89.0.19"])
    late = server.user(credentials.kubeconfig)
    assert (await late.post(NODES, node("n9"))).status == 201
    remove_node(tmp_path, "n9")
    assert (await late.get(NODES)).status == 401
    assert not credentials.kubeconfig.exists()


def test_secrets_are_for_their_owner_and_digests_for_the_server(tmp_path: Path) -> None:
    directory = tmp_path / "api"
    files = prepare(directory, ["10.89.255.2", "fd00::2"], ["n1"])
    for path in directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    token = json.loads(files.admin.read_text())["users"][0]["user"]["token"]
    assert token not in (directory / "tokens.json").read_text()
    again = prepare(directory, ["10.89.255.2", "fd00::2"], ["n1"])
    assert json.loads(again.admin.read_text())["users"][0]["user"]["token"] == token
    certificate = x509.load_pem_x509_certificate((directory / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "kubernetes.default.svc"} <= set(names.get_values_for_type(x509.DNSName))
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "::1", "10.89.255.2", "fd00::2"} <= addresses


def test_a_missing_token_file_lets_nobody_in(tmp_path: Path) -> None:
    authenticator = Authenticator(tmp_path / "tokens.json")
    assert authenticator.user("Bearer x") is None
    assert authenticator.user("Basic eDp5") is None
    assert authenticator.user("") == ANONYMOUS
