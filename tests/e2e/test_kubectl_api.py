"""kubectl against the lab's API server alone: what its users type, and what they expect to see."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from podwire.lab.apiserver.pki import Kubeconfigs, prepare
from podwire.lab.apiserver.server import listen
from tests.support.tools import tool

pytestmark = [pytest.mark.e2e]

TEAM = """
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: echo
        image: podwire/echo
        ports: [{containerPort: 8080}]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
      - name: side
        image: podwire/client
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: team}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: team}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pools.podwire.io}
spec:
  group: podwire.io
  scope: Cluster
  names: {plural: pools, kind: Pool, shortNames: [pl]}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: CIDR, type: string, jsonPath: .spec.cidr}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [cidr], properties: {cidr: {type: string, pattern: '^[0-9./]+$'}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


class Result(NamedTuple):
    """What a command printed."""

    code: int
    out: str
    err: str


class Kubectl:
    """kubectl with a kubeconfig and a cache of its own."""

    def __init__(self, files: Kubeconfigs, home: Path) -> None:
        self.files, self._home = files, home

    async def __call__(
        self, *arguments: str, text: str = "", kubeconfig: Path | None = None, fails: bool = False
    ) -> Result:
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.files.admin),
            "HOME": str(self._home),
            "KUBECACHEDIR": str(self._home / "cache"),
        }
        started = await asyncio.create_subprocess_exec(
            str(tool("kubectl")),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            out, err = await asyncio.wait_for(started.communicate(text.encode()), 60)
        finally:
            if started.returncode is None:
                started.kill()
                await started.wait()
        result = Result(started.returncode or 0, out.decode(), err.decode())
        assert (result.code != 0) is fails, f"kubectl {' '.join(arguments)}: {result.out}\n{result.err}"
        return result


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    """kubectl, and a server that runs as the lab starts it."""
    directory = tmp_path / "api"
    with listen("127.0.0.1", 0) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        files = prepare(directory, ["127.0.0.1"], ["n1"], server=url, local_server=url)
        command = ["-m", "podwire.lab.apiserver", "--dir", str(directory), "--listen-fd", str(listener.fileno())]
        server = await asyncio.create_subprocess_exec(
            sys.executable, *command, pass_fds=[listener.fileno()], stderr=asyncio.subprocess.PIPE
        )
        try:
            yield Kubectl(files, tmp_path)
        finally:
            server.terminate()
            _, log = await asyncio.wait_for(server.communicate(), 30)
    assert b"Traceback" not in log, log.decode()


async def test_apply_change_and_delete(kubectl: Kubectl) -> None:
    made = await kubectl("apply", "-f", "-", text=TEAM)
    assert made.out.split("\n")[:4] == [
        "namespace/team created", "deployment.apps/web created", "service/web created",
        "networkpolicy.networking.k8s.io/closed created",
    ]  # fmt: skip
    assert "unchanged" in (await kubectl("apply", "-f", "-", text=TEAM)).out
    changed = (
        TEAM.replace('{name: A, value: "1"}, ', "")
        .replace("replicas: 2", "replicas: 3")
        .replace("podwire/client", "new")
    )
    assert "deployment.apps/web configured" in (await kubectl("apply", "-f", "-", text=changed)).out
    spec = json.loads((await kubectl("get", "deploy", "web", "-n", "team", "-o", "json")).out)["spec"]
    echo, side = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 3 and echo["env"] == [{"name": "B", "value": "2"}] and side["image"] == "new"
    assert "replicas: 2" in (await kubectl("diff", "-f", "-", text=TEAM, fails=True)).out
    wide = (await kubectl("get", "deploy", "-n", "team", "-o", "wide")).out.split("\n")
    assert wide[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert "0/3" in wide[1] and "echo,side" in wide[1]
    shown = await kubectl("describe", "deploy,service,networkpolicy", "-n", "team")
    assert "3 desired" in shown.out and "10.96.0." in shown.out and "closed" in shown.out
    await kubectl("delete", "-f", "-", text=TEAM)
    assert "NotFound" in (await kubectl("get", "ns", "team", fails=True)).err


async def test_server_side_apply(kubectl: Kubectl) -> None:
    assert "serverside-applied" in (await kubectl("apply", "--server-side", "-f", "-", text=TEAM)).out
    without = TEAM.replace('{name: A, value: "1"}, ', "")
    await kubectl("apply", "--server-side", "-f", "-", text=without)
    found = json.loads((await kubectl("get", "deploy", "web", "-n", "team", "-o", "json")).out)
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]
    other = TEAM.replace("replicas: 2", "replicas: 5")
    refused = await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", text=other, fails=True)
    assert ".spec.replicas" in refused.err
    await kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", text=other)


async def test_imperative_commands(kubectl: Kubectl) -> None:
    await kubectl("create", "deployment", "web", "--image=podwire/echo", "--replicas=2", "--port=80")
    await kubectl("create", "namespace", "team")
    await kubectl("create", "configmap", "settings", "--from-literal=a=b")
    await kubectl("create", "secret", "generic", "hidden", "--from-literal=a=b")
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort")
    assert ":30000/TCP" in (await kubectl("get", "service", "web")).out
    await kubectl("scale", "deployment", "web", "--replicas=7")
    await kubectl("label", "deployment", "web", "tier=front")
    await kubectl("annotate", "deployment", "web", "note=x")
    await kubectl("set", "image", "deployment/web", "echo=podwire/client")
    await kubectl("set", "env", "deployment/web", "A=1")
    await kubectl(
        "patch",
        "deployment",
        "web",
        "--type=json",
        "-p",
        '[{"op":"replace","path":"/spec/paused","value":true}]',
        fails=True,
    )
    await kubectl("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"paused":true}}')
    await kubectl("rollout", "resume", "deployment/web")
    await kubectl("rollout", "restart", "deployment/web")
    found = json.loads((await kubectl("get", "deploy", "-l", "tier=front", "-o", "json")).out)["items"][0]
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert found["spec"]["replicas"] == 7 and container["image"] == "podwire/client"
    assert container["env"] == [{"name": "A", "value": "1"}]
    names = (await kubectl("get", "all", "-o", "name")).out.split()
    assert names == ["service/web", "deployment.apps/web"]
    await kubectl("delete", "deployment,service", "--all")
    assert (await kubectl("get", "all", "-o", "name")).out == ""


async def test_pods_are_described_waited_for_and_deleted(kubectl: Kubectl) -> None:
    await kubectl("run", "a", "--image=podwire/echo", "--labels=app=a")
    described = (await kubectl("describe", "pod", "a")).out
    assert "podwire/echo" in described and "Status:" in described and "Pending" in described
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=Ready", "pod/a", "--timeout=50s"))
    conditions = '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'
    await kubectl("patch", "pod", "a", "--subresource=status", "--type=merge", "-p", conditions)
    assert "condition met" in (await waiting).out
    assert "Running" in (await kubectl("get", "pods", "--field-selector=status.phase=Running")).out
    gone = asyncio.create_task(kubectl("wait", "--for=delete", "pod/a", "--timeout=50s"))
    await kubectl("delete", "pod", "a")
    await gone
    watched = await kubectl("get", "namespaces", "-w", "--request-timeout=1s")
    assert watched.out.count("NAME") == 1 and "kube-system" in watched.out


async def test_nodes_are_cordoned_and_described(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", text="apiVersion: v1\nkind: Node\nmetadata: {name: n1}")
    await kubectl("cordon", "n1")
    assert "SchedulingDisabled" in (await kubectl("get", "nodes")).out
    await kubectl("taint", "node", "n1", "key=value:NoSchedule")
    described = (await kubectl("describe", "node", "n1")).out
    assert "key=value:NoSchedule" in described and "Unschedulable:      true" in described
    await kubectl("uncordon", "n1")
    await kubectl("drain", "n1")


async def test_custom_kinds(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", text=DEFINITION)
    await kubectl("wait", "--for=condition=Established", "crd/pools.podwire.io", "--timeout=30s")
    pool = "apiVersion: podwire.io/v1alpha1\nkind: Pool\nmetadata: {name: a}\nspec: {cidr: 10.0.0.0/8}"
    await kubectl("apply", "-f", "-", text=pool)
    assert "configured" in (await kubectl("apply", "-f", "-", text=pool.replace("/8", "/9"))).out
    assert (await kubectl("get", "pl")).out.split() == ["NAME", "CIDR", "a", "10.0.0.0/9"]
    wrong = await kubectl("apply", "-f", "-", text=pool.replace("10.0.0.0/8", "ten"), fails=True)
    assert "spec.cidr" in wrong.err
    assert "cidr" in (await kubectl("explain", "pools.spec")).out
    await kubectl("delete", "crd", "pools.podwire.io")


async def test_mistakes_are_explained(kubectl: Kubectl) -> None:
    typo = TEAM.replace("containerPort: 8080", "containerPrt: 8080")
    assert (
        'unknown field "spec.template.spec.containers[0].ports[0].containerPrt"'
        in (await kubectl("apply", "-f", "-", text=typo, fails=True)).err
    )
    wrong = TEAM.replace("matchLabels: {app: web}", "matchLabels: {app: other}")
    assert (
        "`selector` does not match template `labels`" in (await kubectl("apply", "-f", "-", text=wrong, fails=True)).err
    )
    assert "already exists" in (await kubectl("create", "ns", "default", fails=True)).err
    assert "may not be deleted" in (await kubectl("delete", "ns", "kube-system", fails=True)).err
    assert "containers <[]Container>" in (await kubectl("explain", "pod.spec")).out.replace("\t", " ")


async def test_rights(kubectl: Kubectl) -> None:
    assert (await kubectl("auth", "can-i", "create", "pods")).out.strip() == "yes"
    node = kubectl.files.nodes["n1"].kubeconfig
    assert (await kubectl("auth", "can-i", "create", "pods", kubeconfig=node, fails=True)).out.startswith("no")
    assert (await kubectl("auth", "can-i", "list", "pods", "-A", kubeconfig=node)).out.strip() == "yes"
    assert "system:node:n1" in (await kubectl("auth", "whoami", kubeconfig=node)).out
    refused = await kubectl("delete", "ns", "default", kubeconfig=node, fails=True)
    assert 'User "system:node:n1" cannot delete resource "namespaces"' in refused.err
