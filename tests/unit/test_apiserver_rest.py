"""The REST verbs over HTTP: what is stored, what is refused, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import PODS, Api, Clock, Running, node, pod, running, until

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[Running]:
    async with running(tmp_path, clock=clock) as made:
        yield made


@pytest.fixture
def api(server: Running) -> Api:
    return server.admin


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod("")["spec"]}
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def causes(body: dict[str, Any]) -> dict[str, str]:
    return {cause["field"]: cause["message"] for cause in body["details"]["causes"]}


async def test_a_pod_from_creation_to_removal(api: Api) -> None:
    made = await api.post(PODS, pod("a", labels={"x": "1"}))
    assert made.status == 201
    meta = made.body["metadata"]
    assert meta["namespace"] == "default" and meta["uid"] and meta["generation"] == 1
    assert meta["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert made.body["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made.body["spec"]["serviceAccountName"] == "default"
    assert (await api.get(f"{PODS}/a")).body == made.body
    gone = await api.delete(f"{PODS}/a")
    assert gone.body["status"] == "Success" and gone.body["details"]["uid"] == meta["uid"]
    missing = await api.get(f"{PODS}/a")
    assert missing.status == 404
    assert missing.body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": 'pods "a" not found', "details": {"name": "a", "kind": "pods"},
    }  # fmt: skip


async def test_names(api: Api) -> None:
    generated = await api.post(PODS, {"metadata": {"generateName": "web-"}, "spec": pod("")["spec"]})
    assert generated.status == 201 and generated.body["metadata"]["name"].startswith("web-")
    assert len(generated.body["metadata"]["name"]) == 9
    again = await api.post(PODS, pod(generated.body["metadata"]["name"]))
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    for name, field in (
        ("", "metadata.name"),
        ("A", "metadata.name"),
        ("a" * 254, "metadata.name"),
        ("a_b", "metadata.name"),
    ):
        refused = await api.post(PODS, pod(name))
        assert (refused.status, refused.body["reason"]) == (422, "Invalid"), name
        assert field in causes(refused.body)
    elsewhere = await api.post(PODS, {**pod("b"), "metadata": {"name": "b", "namespace": "kube-system"}})
    assert elsewhere.status == 400 and "namespace" in elsewhere.body["message"]
    nowhere = await api.post("/api/v1/namespaces/nowhere/pods", pod("b"))
    assert nowhere.status == 404 and nowhere.body["message"] == 'namespaces "nowhere" not found'


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"name": "c"}]}, "spec.containers[0].image"),
        ({"containers": [{"name": "C", "image": "i"}]}, "spec.containers[0].name"),
        ({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}, "spec.containers[1].name"),
        ({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}]},
         "spec.containers[0].volumeMounts[0].name"),
        ({"containers": [{"name": "c", "image": "i", "livenessProbe": {}}]}, "spec.containers[0].livenessProbe"),
        ({"nodeSelector": {"a b": "c"}}, "spec.nodeSelector"),
        ({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "spec.volumes[0]"),
    ],
)  # fmt: skip
async def test_invalid_pods_name_the_field(api: Api, spec: dict[str, Any], field: str) -> None:
    refused = await api.post(PODS, pod("a", **spec))
    assert refused.status == 422, refused.body
    assert field in causes(refused.body)
    assert (await api.get(f"{PODS}/a")).status == 404


async def test_what_cannot_be_read_is_a_bad_request(api: Api) -> None:
    assert (await api.post(PODS, b"{nope")).status == 400
    assert (await api.post(PODS, b"[1]")).status == 400
    assert (await api.post(PODS, b"a: [", content_type="application/yaml")).status == 400
    assert (await api.post(PODS, b"x", content_type="text/html")).status == 415
    mistyped = await api.post(PODS, pod("a", containers="none"))
    assert mistyped.status == 400 and "spec.containers" in mistyped.body["message"]
    kind = await api.post(PODS, {**pod("a"), "kind": "Node"})
    assert kind.status == 400 and "kind" in kind.body["message"]
    large = await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "x" * (3 * 1024 * 1024)}})
    assert (large.status, large.body["reason"]) == (413, "RequestEntityTooLarge")
    deep = await api.post(PODS, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    assert deep.status == 400


async def test_yaml_is_read_too(api: Api) -> None:
    text = b"metadata: {name: y}\nspec:\n  containers:\n  - {name: c, image: i}\n"
    assert (await api.post(PODS, text, content_type="application/yaml")).status == 201


async def test_unknown_fields_warn_or_fail_as_the_client_asks(api: Api) -> None:
    strict = await api.post(PODS, pod("a", colour="red"), fieldValidation="Strict")
    assert strict.status == 400 and 'unknown field "spec.colour"' in strict.body["message"]
    warned = await api.post(PODS, pod("a", colour="red"))
    assert warned.status == 201 and "colour" not in warned.body["spec"]
    assert 'unknown field \\"spec.colour\\"' in warned.headers["Warning"]
    silent = await api.post(PODS, pod("b", colour="red"), fieldValidation="Ignore")
    assert silent.status == 201 and "Warning" not in silent.headers


async def test_an_update_needs_the_version_that_it_was_made_from(api: Api) -> None:
    first = (await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}})).body
    second = await api.put(f"{MAPS}/m", {**first, "data": {"a": "2"}})
    assert second.status == 200
    assert int(second.body["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    stale = await api.put(f"{MAPS}/m", {**first, "data": {"a": "3"}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    assert stale.body["message"] == (
        'Operation cannot be fulfilled on configmaps "m": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    unconditional = await api.put(f"{MAPS}/m", {"metadata": {"name": "m"}, "data": {"a": "4"}})
    assert (
        unconditional.body["data"] == {"a": "4"} and unconditional.body["metadata"]["uid"] == first["metadata"]["uid"]
    )
    other = await api.put(f"{MAPS}/m", {"metadata": {"name": "m", "uid": "another"}})
    assert other.status == 409 and "UID" in other.body["message"]


async def test_a_change_that_changes_nothing_takes_no_version(api: Api, server: Running) -> None:
    made = (await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}})).body
    version = server.server.store.version
    same = await api.put(f"{MAPS}/m", made)
    patched = await api.patch(f"{MAPS}/m", {"data": {"a": "1"}})
    assert same.body == patched.body == made and server.server.store.version == version


async def test_status_and_spec_are_written_apart(api: Api) -> None:
    made = (await api.post(DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})).body
    assert "status" not in made and made["metadata"]["generation"] == 1
    status = await api.put(
        f"{DEPLOYMENTS}/web/status", {**made, "status": {"replicas": 3}, "spec": {**made["spec"], "replicas": 7}}
    )
    assert status.body["status"] == {"replicas": 3} and status.body["spec"]["replicas"] == 1
    assert status.body["metadata"]["generation"] == 1
    spec = await api.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 2}, "status": {"replicas": 8}})
    assert spec.body["status"] == {"replicas": 3} and spec.body["spec"]["replicas"] == 2
    assert spec.body["metadata"]["generation"] == 2
    label = await api.patch(f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}})
    assert label.body["metadata"]["generation"] == 2


async def test_patches_of_every_type(api: Api) -> None:
    await api.post(PODS, pod("a", labels={"x": "1"}))
    merge = await api.patch(f"{PODS}/a", {"metadata": {"labels": {"x": None, "y": "2"}}})
    assert merge.body["metadata"]["labels"] == {"y": "2"}
    json_patch = await api.patch(
        f"{PODS}/a", [{"op": "add", "path": "/metadata/labels/z", "value": "3"}], "json-patch+json"
    )
    assert json_patch.body["metadata"]["labels"] == {"y": "2", "z": "3"}
    image = {"spec": {"containers": [{"name": "main", "image": "other"}]}}
    strategic = await api.patch(f"{PODS}/a", image, "strategic-merge-patch+json")
    assert strategic.body["spec"]["containers"][0]["image"] == "other"
    failed = await api.patch(f"{PODS}/a", [{"op": "test", "path": "/kind", "value": "Node"}], "json-patch+json")
    assert failed.status == 422
    assert (await api.patch(f"{PODS}/a", [], "merge-patch+json")).status == 400
    assert (await api.patch(f"{PODS}/a", {}, "json")).status == 415
    assert (await api.patch(f"{PODS}/missing", {})).status == 404
    stale = await api.patch(f"{PODS}/a", {"metadata": {"resourceVersion": "1", "labels": {"q": "1"}}})
    assert stale.status == 409


async def test_server_side_apply_creates_and_needs_a_manager(api: Api) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": "1"}}
    assert (await api.patch(f"{MAPS}/s", config, "apply-patch+yaml")).status == 422
    made = await api.patch(f"{MAPS}/s", config, "apply-patch+yaml", fieldManager="one")
    assert made.status == 201 and made.body["metadata"]["managedFields"][0]["manager"] == "one"
    again = await api.patch(f"{MAPS}/s", config, "apply-patch+yaml", fieldManager="one")
    assert again.status == 200 and again.body == made.body
    config["data"] = {"a": "2"}
    refused = await api.patch(f"{MAPS}/s", config, "apply-patch+yaml", fieldManager="two")
    assert refused.status == 409 and causes(refused.body) == {".data.a": 'conflict with "one"'}
    forced = await api.patch(f"{MAPS}/s", config, "apply-patch+yaml", fieldManager="two", force="true")
    assert forced.body["data"] == {"a": "2"}


async def test_pod_specs_hardly_change_and_nodes_are_bound_once(api: Api) -> None:
    await api.post(PODS, pod("a"))
    moved = await api.patch(f"{PODS}/a", {"spec": {"nodeName": "n1"}})
    assert moved.status == 422 and "binding" in causes(moved.body)["spec"]
    target = {"target": {"kind": "Node", "name": "n1"}}
    assert (await api.post(f"{PODS}/a/binding", target)).status == 201
    bound = (await api.get(f"{PODS}/a")).body
    assert bound["spec"]["nodeName"] == "n1"
    assert [condition["type"] for condition in bound["status"]["conditions"]] == ["PodScheduled"]
    again = await api.post(f"{PODS}/a/binding", target)
    assert again.status == 409 and 'already assigned to node "n1"' in again.body["message"]
    image = {"spec": {"containers": [{"name": "main", "image": "new"}], "activeDeadlineSeconds": 5}}
    assert (await api.patch(f"{PODS}/a", image, "strategic-merge-patch+json")).status == 200
    dropped = await api.patch(f"{PODS}/a", {"spec": {"tolerations": []}})
    assert dropped.status == 422


async def test_a_bound_pod_ends_gracefully(api: Api, clock: Clock) -> None:
    await api.post(PODS, pod("a", terminationGracePeriodSeconds=20))
    await api.post(f"{PODS}/a/binding", {"target": {"name": "n1"}})
    marked = (await api.delete(f"{PODS}/a")).body
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:25Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    later = (await api.delete(f"{PODS}/a", {"gracePeriodSeconds": 60})).body
    assert later["metadata"]["deletionGracePeriodSeconds"] == 20
    sooner = (await api.delete(f"{PODS}/a", gracePeriodSeconds="5")).body
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    wrong = await api.delete(f"{PODS}/a", {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}})
    assert wrong.status == 409
    right = {"gracePeriodSeconds": 0, "preconditions": {"uid": marked["metadata"]["uid"]}}
    assert (await api.delete(f"{PODS}/a", right)).body["status"] == "Success"
    assert (await api.get(f"{PODS}/a")).status == 404


async def test_a_finished_pod_goes_at_once(api: Api) -> None:
    await api.post(PODS, pod("a"))
    await api.post(f"{PODS}/a/binding", {"target": {"name": "n1"}})
    await api.patch(f"{PODS}/a/status", {"status": {"phase": "Succeeded"}})
    assert (await api.delete(f"{PODS}/a")).body["status"] == "Success"


async def test_finalizers_hold_an_object(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m", "finalizers": ["podwire.io/hold"]}})
    held = await api.delete(f"{MAPS}/m")
    assert held.status == 200 and "deletionTimestamp" in held.body["metadata"]
    more = await api.patch(f"{MAPS}/m", {"metadata": {"finalizers": ["podwire.io/hold", "podwire.io/more"]}})
    assert more.status == 422 and "metadata.finalizers" in causes(more.body)
    assert (await api.patch(f"{MAPS}/m", {"metadata": {"finalizers": None}})).status == 200
    assert (await api.get(f"{MAPS}/m")).status == 404


async def test_pod_cidrs_of_a_node_are_set_once(api: Api) -> None:
    made = await api.post(
        "/api/v1/nodes", {**node("n1"), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    )
    assert made.body["status"]["conditions"]
    assert (await api.patch("/api/v1/nodes/n1", {"spec": {"podCIDRs": ["10.244.1.7/24"]}})).status == 422
    assert (
        await api.patch("/api/v1/nodes/n1", {"spec": {"podCIDRs": ["10.244.1.0/24", "10.244.2.0/24"]}})
    ).status == 422
    given = await api.patch("/api/v1/nodes/n1", {"spec": {"podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]}})
    assert given.body["spec"] == {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]}
    for change in (["10.244.9.0/24"], None):
        refused = await api.patch("/api/v1/nodes/n1", {"spec": {"podCIDRs": change, "podCIDR": None}})
        assert refused.status == 422 and "spec.podCIDRs" in causes(refused.body), change


async def test_lists_select_and_page(api: Api) -> None:
    for number in range(7):
        labels = {"app": "a" if number % 2 else "b", "n": str(number)}
        await api.post(PODS, pod(f"p{number}", labels=labels))
    await api.post(f"{PODS}/p3/binding", {"target": {"name": "n1"}})

    async def names(**query: Any) -> list[str]:
        return [item["metadata"]["name"] for item in (await api.get(PODS, **query)).body["items"]]

    assert await names(labelSelector="app=a") == ["p1", "p3", "p5"]
    assert await names(labelSelector="app!=a,n notin (0,2)") == ["p4", "p6"]
    assert await names(labelSelector="n in (1, 2),!gone,app") == ["p1", "p2"]
    assert await names(fieldSelector="spec.nodeName=n1") == ["p3"]
    assert await names(fieldSelector="metadata.name=p2") == ["p2"]
    assert await names(fieldSelector="spec.nodeName!=n1,status.phase=Pending", labelSelector="app=a") == ["p1", "p5"]
    assert (await api.get(PODS, fieldSelector="spec.colour=red")).status == 400
    assert (await api.get(PODS, labelSelector="=")).status == 400
    first = (await api.get(PODS, limit=3)).body
    assert len(first["items"]) == 3 and first["metadata"]["remainingItemCount"] == 4
    await api.post(PODS, pod("p9"))
    second = (await api.get(PODS, limit=3, **{"continue": first["metadata"]["continue"]})).body
    third = (await api.get(PODS, limit=3, **{"continue": second["metadata"]["continue"]})).body
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert [item["metadata"]["name"] for item in third["items"]] == ["p6", "p9"]
    assert "continue" not in third["metadata"]
    assert (await api.get(PODS, **{"continue": "nonsense"})).status == 400
    assert (await api.get(PODS, limit="-1")).status == 400
    everywhere = (await api.get("/api/v1/pods")).body
    assert (everywhere["kind"], everywhere["apiVersion"], len(everywhere["items"])) == ("PodList", "v1", 8)


async def test_a_long_list_is_streamed_of_one_version(api: Api, server: Running) -> None:
    for number in range(450):
        await api.post(MAPS, {"metadata": {"name": f"m{number:03}", "labels": {"odd": str(number % 2)}}})
    version = str(server.server.store.version)
    listed = await api.get(MAPS)
    assert "Content-Length" not in listed.headers and listed.body["metadata"] == {"resourceVersion": version}
    assert [item["metadata"]["name"] for item in listed.body["items"]] == [f"m{number:03}" for number in range(450)]
    assert (await api.get(MAPS, labelSelector="odd=1")).body["items"] == listed.body["items"][1::2]
    last = (await api.get(MAPS, fieldSelector="metadata.name!=x,metadata.name!=m001", labelSelector="odd")).body[
        "items"
    ]
    assert len(last) == 449
    await api.post(MAPS, {"metadata": {"name": "z", "labels": {"last": "1"}}})
    assert [item["metadata"]["name"] for item in (await api.get(MAPS, labelSelector="last")).body["items"]] == ["z"]
    assert (await api.get(MAPS, labelSelector="odd=2")).body["items"] == []


async def test_what_a_version_means_in_a_list(api: Api, server: Running) -> None:
    await api.post(PODS, pod("a"))
    now = server.server.store.version
    assert (await api.get(PODS, resourceVersion=now, resourceVersionMatch="Exact")).status == 200
    assert (await api.get(PODS, resourceVersion=now - 1, resourceVersionMatch="Exact")).status == 410
    assert (await api.get(PODS, resourceVersion=now - 1)).status == 200
    ahead = await api.get(PODS, resourceVersion=now + 1)
    assert (ahead.status, ahead.body["reason"]) == (504, "Timeout")
    assert (await api.get(PODS, resourceVersion="x")).status == 400


async def test_a_dry_run_leaves_nothing_behind(api: Api, server: Running) -> None:
    version = server.server.store.version
    assert (await api.post(PODS, pod("a"), dryRun="All")).status == 201
    assert (await api.get(f"{PODS}/a")).status == 404
    await api.post(PODS, pod("b"))
    assert (await api.patch(f"{PODS}/b", {"metadata": {"labels": {"x": "1"}}}, dryRun="All")).body["metadata"]["labels"]
    assert (await api.delete(f"{PODS}/b", dryRun="All")).status == 200
    assert "labels" not in (await api.get(f"{PODS}/b")).body["metadata"]
    assert server.server.store.version == version + 1
    assert (await api.post(PODS, pod("c"), dryRun="Some")).status == 400


async def test_scale(api: Api) -> None:
    await api.post(DEPLOYMENTS, deployment())
    scale = await api.get(f"{DEPLOYMENTS}/web/scale")
    assert scale.body["spec"] == {"replicas": 1} and scale.body["status"] == {"replicas": 0, "selector": "app=web"}
    changed = await api.put(f"{DEPLOYMENTS}/web/scale", {**scale.body, "spec": {"replicas": 4}})
    assert changed.body["spec"] == {"replicas": 4}
    assert (await api.get(f"{DEPLOYMENTS}/web")).body["spec"]["replicas"] == 4
    assert (await api.put(f"{DEPLOYMENTS}/web/scale", {**scale.body, "spec": {"replicas": 5}})).status == 409
    assert (await api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 0}})).body["spec"] == {"replicas": 0}
    assert (await api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}})).status == 422


async def test_workloads_must_choose_the_pods_they_make(api: Api) -> None:
    wrong = deployment()
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    refused = await api.post(DEPLOYMENTS, wrong)
    assert refused.status == 422 and "spec.template.metadata.labels" in causes(refused.body)
    made = (await api.post(DEPLOYMENTS, deployment())).body
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    made["spec"]["selector"] = {"matchLabels": {"app": "web", "more": "1"}}
    made["spec"]["template"]["metadata"]["labels"]["more"] = "1"
    changed = await api.put(f"{DEPLOYMENTS}/web", made)
    assert changed.status == 422 and causes(changed.body)["spec.selector"].endswith("field is immutable")


async def test_services_get_addresses_of_their_own(api: Api) -> None:
    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first = (await api.post(SERVICES, service("a"))).body
    second = (await api.post(SERVICES, service("b", type="NodePort"))).body
    assert first["spec"]["clusterIP"] == "10.96.0.11" and second["spec"]["clusterIP"] == "10.96.0.12"
    assert first["spec"]["ports"][0] == {"port": 80, "protocol": "TCP", "targetPort": 80}
    assert second["spec"]["ports"][0]["nodePort"] == 30000
    headless = (await api.post(SERVICES, service("c", clusterIP="None"))).body
    assert headless["spec"]["clusterIPs"] == ["None"]
    taken = await api.post(SERVICES, service("d", clusterIP="10.96.0.11"))
    assert taken.status == 422 and "already allocated" in taken.body["message"]
    outside = await api.post(SERVICES, service("d", clusterIP="192.0.2.1"))
    assert outside.status == 422
    port = await api.post(SERVICES, service("d", type="NodePort", ports=[{"port": 1, "nodePort": 30000}]))
    assert port.status == 422 and "spec.ports[0].nodePort" in causes(port.body)
    kept = (await api.put(f"{SERVICES}/a", service("a", selector={"x": "y"}))).body
    assert kept["spec"]["clusterIP"] == "10.96.0.11"
    assert (await api.patch(f"{SERVICES}/a", {"spec": {"clusterIP": "10.96.0.99"}})).status == 422
    await api.delete(f"{SERVICES}/a")
    assert (await api.post(SERVICES, service("e"))).body["spec"]["clusterIP"] == "10.96.0.11"


async def test_events_are_one_kind_in_two_groups(api: Api) -> None:
    event = {
        "metadata": {"name": "e1"}, "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
        "reason": "Failed", "message": "why", "source": {"component": "kubelet"}, "count": 2,
    }  # fmt: skip
    assert (await api.post("/api/v1/namespaces/default/events", event)).status == 201
    new = (await api.get("/apis/events.k8s.io/v1/namespaces/default/events/e1")).body
    assert (new["apiVersion"], new["note"], new["regarding"]["name"]) == ("events.k8s.io/v1", "why", "a")
    assert new["deprecatedCount"] == 2
    other = {"metadata": {"name": "e2"}, "regarding": {"kind": "Pod", "name": "b", "namespace": "default"}, "note": "n"}
    assert (await api.post("/apis/events.k8s.io/v1/namespaces/default/events", other)).status == 201
    chosen = await api.get("/api/v1/namespaces/default/events", fieldSelector="involvedObject.name=b")
    assert [item["message"] for item in chosen.body["items"]] == ["n"]
    mismatch = {**event, "metadata": {"name": "e3", "namespace": "kube-system"}}
    assert (await api.post("/api/v1/namespaces/kube-system/events", mismatch)).status == 422


async def test_secrets_are_encoded_and_immutable_data_stays(api: Api) -> None:
    path = "/api/v1/namespaces/default/secrets"
    made = (await api.post(path, {"metadata": {"name": "s"}, "stringData": {"a": "b"}, "immutable": True})).body
    assert made["data"] == {"a": "Yg=="} and "stringData" not in made and made["type"] == "Opaque"
    assert (await api.patch(f"{path}/s", {"stringData": {"a": "c"}})).status == 422
    assert (await api.post(path, {"metadata": {"name": "t"}, "data": {"a": "not base64!"}})).status == 422


async def test_delete_collection(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.post(PODS, pod(name, labels={"x": "1" if name == "a" else "2"}))
    gone = await api.delete(PODS, labelSelector="x=2")
    assert [item["metadata"]["name"] for item in gone.body["items"]] == ["b", "c"]
    assert [item["metadata"]["name"] for item in (await api.get(PODS)).body["items"]] == ["a"]


async def test_a_namespace_takes_its_contents_along(api: Api) -> None:
    path = "/api/v1/namespaces/team"
    made = (await api.post("/api/v1/namespaces", {"metadata": {"name": "team"}})).body
    assert made["status"] == {"phase": "Active"}
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    await api.post(f"{path}/configmaps", {"metadata": {"name": "m"}})
    await api.post(f"{path}/pods", pod("a"))
    await api.post(f"{path}/pods/a/binding", {"target": {"name": "n1"}})
    marked = await api.delete(path)
    assert marked.body["status"]["phase"] == "Terminating"
    late = await api.post(f"{path}/configmaps", {"metadata": {"name": "late"}})
    assert late.status == 403 and "being terminated" in late.body["message"]

    async def emptied() -> bool:
        return not (await api.get(f"{path}/configmaps")).body["items"]

    await until(emptied)
    waiting = (await api.get(f"{path}/pods/a")).body
    assert "deletionTimestamp" in waiting["metadata"]
    assert (await api.get(path)).body["status"]["conditions"][0]["message"] == (
        "Some resources are remaining: pods has 1 resource instances"
    )
    await api.delete(f"{path}/pods/a", {"gracePeriodSeconds": 0})

    async def gone() -> bool:
        return (await api.get(path)).status == 404

    await until(gone)
    assert (await api.post("/api/v1/namespaces", {"metadata": {"name": "team"}})).status == 201
    assert (await api.delete("/api/v1/namespaces/kube-system")).status == 403


async def test_owners_take_their_dependents_along(api: Api) -> None:
    async def owned(name: str, *owners: dict[str, Any]) -> None:
        references = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
            for owner in owners
        ]
        await api.post(MAPS, {"metadata": {"name": name, "ownerReferences": references}})

    one = (await api.post(MAPS, {"metadata": {"name": "one"}})).body
    two = (await api.post(MAPS, {"metadata": {"name": "two"}})).body
    await owned("child", one)
    await owned("shared", one, two)
    await api.delete(f"{MAPS}/one")

    async def child_gone() -> bool:
        return (await api.get(f"{MAPS}/child")).status == 404

    async def disowned() -> bool:
        return len((await api.get(f"{MAPS}/shared")).body["metadata"]["ownerReferences"]) == 1

    await until(child_gone)
    await until(disowned)
    await owned("late", one)  # its owner is gone already

    async def late_gone() -> bool:
        return (await api.get(f"{MAPS}/late")).status == 404

    await until(late_gone)
    await api.delete(f"{MAPS}/two", propagationPolicy="Orphan")
    await asyncio.sleep(0)
    assert "ownerReferences" not in (await api.get(f"{MAPS}/shared")).body["metadata"]


async def test_foreground_deletion_waits_for_dependents(api: Api) -> None:
    made = (await api.post(DEPLOYMENTS, deployment())).body
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": made["metadata"]["uid"]}
    held = pod("a")
    held["metadata"] |= {"ownerReferences": [owner], "finalizers": ["podwire.io/hold"]}
    await api.post(PODS, held)
    marked = await api.delete(f"{DEPLOYMENTS}/web", {"propagationPolicy": "Foreground"})
    assert marked.body["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def ending() -> bool:
        return "deletionTimestamp" in (await api.get(f"{PODS}/a")).body["metadata"]

    await until(ending)
    assert (await api.get(f"{DEPLOYMENTS}/web")).status == 200
    await api.patch(f"{PODS}/a", {"metadata": {"finalizers": None}})

    async def gone() -> bool:
        return (await api.get(f"{DEPLOYMENTS}/web")).status == 404

    await until(gone)


async def test_eviction_deletes(api: Api) -> None:
    await api.post(PODS, pod("a"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    assert (await api.post(f"{PODS}/a/eviction", eviction)).status == 201
    assert (await api.get(f"{PODS}/a")).status == 404


async def test_paths_and_verbs_that_are_not_served(api: Api) -> None:
    for path in ("/api/v1/unicorns", "/apis/nowhere/v1/pods", "/nonsense", f"{PODS}/a/b", "/api/v1/namespaces/x/nodes"):
        found = await api.get(path)
        assert (found.status, found.body["kind"]) == (404, "Status"), path
    for method, path in (("PUT", PODS), ("PATCH", PODS), ("POST", f"{PODS}/a")):
        assert (await api.request(method, path, pod("a"))).status == 405
    assert (await api.post("/api/v1/pods", pod("a"))).status == 400
    await api.post(PODS, pod("a"))
    attach = await api.get(f"{PODS}/a/attach")
    assert (attach.status, attach.body["reason"]) == (501, "NotImplemented")
    assert (await api.get(PODS, accept="text/html")).status == 406


async def test_many_writers_of_one_object_lose_nothing(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": {}})

    async def add(key: str) -> None:
        while True:
            seen = (await api.get(f"{MAPS}/m")).body
            seen["data"] = {**(seen.get("data") or {}), key: "1"}
            answer = await api.put(f"{MAPS}/m", seen)
            if answer.status == 200:
                return
            assert answer.status == 409

    await asyncio.gather(*(add(f"k{number}") for number in range(12)))
    assert len((await api.get(f"{MAPS}/m")).body["data"]) == 12
