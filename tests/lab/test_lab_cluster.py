"""A whole cluster in the lab, used as its users use it: kubectl, workloads, nodes that come, go, reboot and are cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from podwire.agent.ask import ask
from podwire.lab.cluster import Lab
from tests.support.netns import needs_root
from tests.support.node import wait_for
from tests.support.tools import tool

pytestmark = [needs_root, pytest.mark.root, pytest.mark.lab]

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "src/podwire/lab/examples/demo.yaml"


def kubectl(lab: Lab, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """The real kubectl, against the lab's API server."""
    environment = {**os.environ, "KUBECONFIG": str(lab.kubeconfig), "KUBECACHEDIR": str(lab.directory.path / "kubectl")}
    result = subprocess.run(
        [tool("kubectl"), *arguments],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if check and result.returncode:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stdout}\n{result.stderr}")
    return result


def podwire(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """podwire's own command line, for this lab."""
    environment = {**os.environ, "PODWIRE_LAB_NAME": lab.name}
    command = [sys.executable, "-m", "podwire", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


def agent(lab: Lab, node: str, path: str) -> Any:
    """GET from the agent of *node*."""
    return ask(Lab.load(lab.name).node(node).path("/run/podwire/control.sock"), path)


def pods(lab: Lab, selector: str) -> list[dict[str, Any]]:
    """The pods that *selector* selects, in the namespace demo."""
    items: list[dict[str, Any]] = json.loads(
        kubectl(lab, "get", "pods", "-n", "demo", "-l", selector, "-o", "json").stdout
    )["items"]
    return items


@pytest.fixture(scope="module", autouse=True)
def demo(lab: Lab) -> None:
    """The demo's manifest, applied by kubectl."""
    kubectl(lab, "apply", "-f", str(EXAMPLE))
    kubectl(lab, "wait", "-n", "demo", "--for=condition=Ready", "pod/shell", "--timeout=30s")
    kubectl(lab, "rollout", "status", "-n", "demo", "daemonset/echo", "--timeout=30s")


def test_every_node_runs_its_daemon_with_an_address_of_its_own(lab: Lab) -> None:
    found = pods(lab, "app=echo")
    assert {pod["spec"]["nodeName"] for pod in found} == {node.name for node in lab.nodes}
    assert len({pod["status"]["podIP"] for pod in found}) == len(lab.nodes)
    kubectl(lab, "apply", "-f", str(EXAMPLE))
    described = kubectl(lab, "describe", "pod", "-n", "demo", "shell").stdout
    assert "Started container shell" in described


def test_the_receiver_sees_the_senders_pod_address(lab: Lab) -> None:
    shell = json.loads(kubectl(lab, "get", "pod", "-n", "demo", "shell", "-o", "json").stdout)
    for pod in pods(lab, "app=echo"):
        url = f"http://{pod['status']['podIP']}:8080/"
        answer = kubectl(lab, "exec", "-n", "demo", "shell", "--", "curl", "-s", "--max-time", "5", url).stdout
        assert shell["status"]["podIP"] in answer


def test_the_world_sees_the_node(lab: Lab) -> None:
    node = json.loads(kubectl(lab, "get", "pod", "-n", "demo", "shell", "-o", "json").stdout)["spec"]["nodeName"]
    answer = kubectl(
        lab, "exec", "-n", "demo", "shell", "--", "curl", "-s", "--max-time", "5", "http://198.51.100.10:8080/"
    ).stdout
    assert str(lab.node(node).addresses[0]) in answer


def test_a_deployment_rolls(lab: Lab) -> None:
    kubectl(lab, "create", "deployment", "-n", "demo", "web", "--image=podwire/echo", "--replicas=3")
    kubectl(lab, "rollout", "status", "-n", "demo", "deployment/web", "--timeout=30s")
    before = {pod["metadata"]["name"] for pod in pods(lab, "app=web")}
    kubectl(lab, "set", "env", "-n", "demo", "deployment/web", "GENERATION=2")
    kubectl(lab, "rollout", "status", "-n", "demo", "deployment/web", "--timeout=60s")
    wait_for(lambda: not before & {pod["metadata"]["name"] for pod in pods(lab, "app=web")}, "the old pods to go", 40)
    kubectl(lab, "delete", "deployment", "-n", "demo", "web")
    wait_for(lambda: pods(lab, "app=web") == [], "the pods to go", 40)


def test_a_command_that_this_machine_lacks_is_refused_understandably(lab: Lab) -> None:
    kubectl(
        lab, "run", "-n", "demo", "foreign", "--image=registry.example/app:1", "--command", "--", "/no/such/program"
    )

    def message() -> str:
        found = json.loads(kubectl(lab, "get", "pod", "-n", "demo", "foreign", "-o", "json").stdout)
        statuses = found["status"].get("containerStatuses") or [{}]
        return str(statuses[0].get("state", {}).get("waiting", {}).get("message", ""))

    wait_for(lambda: "/no/such/program" in message(), "the refusal", 20)
    kubectl(lab, "delete", "pod", "-n", "demo", "foreign", "--grace-period=0", "--force")


def test_a_strangers_change_is_healed(lab: Lab) -> None:
    node = lab.nodes[0]
    routes = node.run(["ip", "route", "show", "proto", "112"]).stdout
    peer = next(line.split()[0] for line in routes.splitlines() if "pwvxlan" in line)
    node.run(["ip", "route", "del", peer])
    wait_for(lambda: peer in node.run(["ip", "route", "show", peer]).stdout, "the route to come back", 10)


def test_a_reboot_forgets_addresses_and_leaks_none(lab: Lab) -> None:
    node = lab.nodes[1]
    assert podwire(lab, "lab", "node", "reboot", node.name).returncode == 0

    def settled() -> bool:
        try:
            answer = agent(lab, node.name, "/v1/ip")
        except Exception:
            return False
        mine = [pod for pod in pods(lab, "app=echo") if pod["spec"]["nodeName"] == node.name]
        ready = all(
            c["status"] == "True" for pod in mine for c in pod["status"].get("conditions", []) if c["type"] == "Ready"
        )
        addresses = {ip for found in answer["attachments"] for ip in found["ips"]}
        return (
            bool(mine)
            and ready
            and {pod["status"].get("podIP") for pod in mine} <= addresses
            and not answer["violations"]
        )

    wait_for(settled, "the node's pods to be back with addresses that all witnesses agree on", 60)


def test_a_dead_agent_costs_no_packet(lab: Lab) -> None:
    target = pods(lab, "app=echo")[0]["status"]["podIP"]
    for node in lab.nodes:
        process = node.service_process("agent")
        assert process is not None
        os.kill(process.pid, 9)
    answer = kubectl(lab, "exec", "-n", "demo", "shell", "--", "ping", "-c", "5", "-i", "0.2", "-W", "1", target).stdout
    assert " 0% packet loss" in answer
    wait_for(lambda: podwire(lab, "lab", "status").returncode == 0, "the agents to be back", 30)


def test_a_node_comes_and_goes(lab: Lab) -> None:
    added = podwire(lab, "lab", "node", "add", "late")
    assert added.returncode == 0, added.stderr
    try:
        wait_for(lambda: len(pods(lab, "app=echo")) == len(Lab.load(lab.name).nodes), "the daemon on the new node", 30)
        kubectl(lab, "rollout", "status", "-n", "demo", "daemonset/echo", "--timeout=30s")
        late = next(pod for pod in pods(lab, "app=echo") if pod["spec"]["nodeName"] == "late")
        kubectl(lab, "exec", "-n", "demo", "shell", "--", "ping", "-c1", "-W2", late["status"]["podIP"])
        cidr = str(agent(lab, "late", "/v1/status")["podCIDRs"][0])
        assert cidr in lab.nodes[0].run(["ip", "route"]).stdout
    finally:
        removed = podwire(lab, "lab", "node", "remove", "late")
    assert removed.returncode == 0, removed.stderr
    wait_for(lambda: cidr not in lab.nodes[0].run(["ip", "route"]).stdout, "the route to go", 20)


def test_verify_wiring_ip_and_status_speak(lab: Lab) -> None:
    time.sleep(1)
    proof = podwire(lab, "verify", "--lab", lab.name, "-o", "json")
    assert proof.returncode == 0, proof.stdout[-2000:] + proof.stderr
    assert podwire(lab, "wiring", "--lab", lab.name, "demo/shell").stdout.count("169.254.1.1") >= 2
    addresses = podwire(lab, "ip", "--lab", lab.name, "-o", "json")
    assert addresses.returncode == 0, addresses.stdout
    assert podwire(lab, "lab", "status").returncode == 0
