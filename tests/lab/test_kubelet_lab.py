"""The lab's kubelet as pods see it: start, probes, restarts, volumes, exec, logs, ends; and what its own death changes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podwire.lab.cluster import Lab
from podwire.lab.images import READY
from podwire.lab.processes import alive, identify
from podwire.lab.spec import LabSpec
from tests.support.netns import needs_root
from tests.support.node import wait_for
from tests.support.tools import tool

pytestmark = [needs_root, pytest.mark.root, pytest.mark.lab]

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs/examples"


@pytest.fixture(scope="module")
def lab_spec() -> LabSpec:
    return LabSpec(nodes=2)


class Cluster:
    """The lab through kubectl."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        directory = self.lab.directory.path
        environment = {**os.environ, "KUBECONFIG": str(self.lab.kubeconfig), "KUBECACHEDIR": str(directory / "kubectl")}
        command = [str(tool("kubectl")), *arguments]
        result = subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=90, check=False
        )
        if check and result.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stdout}\n{result.stderr}")
        return result

    def pod(self, name: str, *containers: dict[str, Any], ready: bool = True, **spec: Any) -> dict[str, Any]:
        """Create a pod, and by default wait until it is Ready; the pod as it is then."""
        full = [{"name": f"c{index}", "image": "podwire/shell", **one} for index, one in enumerate(containers or ({},))]
        spec = {"terminationGracePeriodSeconds": 2, "containers": full, **spec}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.kubectl("apply", "-f", "-", text=json.dumps(body))
        if ready:
            self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
        return self.get(name)

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "pod", name, "-o", "json").stdout)
        return found

    def container(self, name: str, index: int = 0) -> dict[str, Any]:
        statuses = self.get(name)["status"].get("containerStatuses") or []
        return statuses[index] if index < len(statuses) else {"state": {}, "restartCount": 0, "ready": False}

    def exec(self, name: str, *command: str, container: str = "c0", check: bool = True) -> str:
        return self.kubectl("exec", name, "-c", container, "--", *command, check=check).stdout

    def phase(self, name: str) -> str:
        return str(self.get(name)["status"]["phase"])

    def kubelet(self, node: str) -> int:
        process = Lab.load(self.lab.name).node(node).service_process("kubelet")
        assert process is not None
        return process.pid

    def node_pids(self, node: str, word: str) -> list[int]:
        """The machine's pids of processes on a node whose command line contains *word*."""
        found = []
        root = Path(f"/proc/{self.kubelet(node)}/ns/pid").readlink()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    same = (entry / "ns/pid").readlink() == root
                    if same and word.encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


@pytest.fixture
def cluster(lab: Lab) -> Iterator[Cluster]:
    made = Cluster(lab)
    yield made
    made.kubectl("delete", "pod,configmap", "--all", "--wait=true", "--timeout=40s")


def state_dir(cluster: Cluster, node: str) -> Path:
    return Path(cluster.lab.node(node).path("/run/podwire-kubelet/pods"))


# --- what a pod is


def test_containers_of_a_pod_share_its_network_and_nothing_else(cluster: Cluster) -> None:
    pod = cluster.pod("two", {"image": "podwire/echo"}, {})
    ip = pod["status"]["podIP"]
    answer = json.loads(cluster.exec("two", "curl", "-s", "http://127.0.0.1:8080/", container="c1"))
    assert (answer["peer"], answer["host"]) == ("127.0.0.1", "two")
    assert ip in cluster.exec("two", "ip", "-4", "address", "show", "eth0", container="c1")
    assert "echo.py" not in cluster.exec("two", "sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '", container="c1")
    cluster.exec("two", "touch", "/tmp/mine", "/srv/mine")
    # The checkout may itself lie below /tmp, and is then seen there by every container.
    assert "mine" not in cluster.exec("two", "sh", "-c", "ls /tmp /srv", container="c1").split()


def test_a_pods_files_and_environment_are_its_own(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "settings", "--from-literal=colour=blue", "--from-literal=size=7")
    env = [
        {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MY_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "URL", "value": "http://$(MY_IP)/"},
    ]
    mounts = [{"name": "conf", "mountPath": "/etc/settings"}, {"name": "scratch", "mountPath": "/scratch"}]
    volumes = [{"name": "conf", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}]
    shared = {"volumeMounts": mounts}
    pod = cluster.pod("files", {"env": env, **shared}, shared, volumes=volumes)
    ip, node = pod["status"]["podIP"], pod["spec"]["nodeName"]
    assert cluster.exec("files", "sh", "-c", 'echo "$MY_IP $MY_NODE $COLOUR $URL"').split() == [
        ip, node, "blue", f"http://{ip}/",
    ]  # fmt: skip
    assert cluster.exec("files", "cat", "/etc/settings/size") == "7"
    assert f"{ip}\tfiles" in cluster.exec("files", "cat", "/etc/hosts")
    cluster.exec("files", "sh", "-c", "echo hello > /scratch/note")
    assert cluster.exec("files", "cat", "/scratch/note", container="c1") == "hello\n"


def test_a_pod_on_the_nodes_network_has_the_nodes_addresses(cluster: Cluster) -> None:
    pod = cluster.pod(
        "host", {"image": "podwire/echo", "args": ["--http", "18080", "--tcp", "", "--udp", ""]}, hostNetwork=True
    )
    assert pod["status"]["podIP"] == pod["status"]["hostIP"]
    node = cluster.lab.node(pod["spec"]["nodeName"])
    assert json.loads(node.run(["curl", "-s", f"http://{pod['status']['hostIP']}:18080/"]).stdout)["host"] == node.name


def test_init_containers_run_first_and_in_order(cluster: Cluster) -> None:
    volumes = [{"name": "work", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}], "image": "podwire/shell"}
    init = [
        {"name": "one", "command": ["sh", "-c", "echo one >> /shared/log"], **mount},
        {"name": "two", "command": ["sh", "-c", "echo two >> /shared/log"], **mount},
    ]
    pod = cluster.pod("init", mount, initContainers=init, volumes=volumes)
    assert cluster.exec("init", "cat", "/shared/log").split() == ["one", "two"]
    ends = [one["state"]["terminated"]["reason"] for one in pod["status"]["initContainerStatuses"]]
    assert ends == ["Completed", "Completed"]


def test_security_context_is_honoured(cluster: Cluster) -> None:
    context = {"runAsUser": 1234, "runAsGroup": 5678, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    cluster.pod("plain", {"command": ["sh", "-c", "id; sleep 1000"], "securityContext": context})
    assert cluster.exec("plain", "id", "-u").strip() == "1234"
    assert cluster.kubectl("exec", "plain", "--", "touch", "/srv/x", check=False).returncode != 0
    assert cluster.kubectl("exec", "plain", "--", "ping", "-c1", "127.0.0.1", check=False).returncode != 0


# --- probes and restarts


def test_readiness_follows_the_probe(cluster: Cluster) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    cluster.pod("probed", {"readinessProbe": probe}, ready=False)
    wait_for(lambda: cluster.phase("probed") == "Running", "the container to run", 20)
    assert not cluster.container("probed")["ready"]
    cluster.exec("probed", "touch", "/tmp/ready")
    wait_for(lambda: cluster.container("probed")["ready"], "readiness", 20)
    cluster.exec("probed", "rm", "/tmp/ready")
    wait_for(lambda: not cluster.container("probed")["ready"], "readiness to go", 20)
    assert "Readiness probe failed" in cluster.kubectl("describe", "pod", "probed").stdout


@pytest.mark.parametrize("handler", [{"httpGet": {"path": "/healthz", "port": 1}}, {"tcpSocket": {"port": 1}}])
def test_a_failed_liveness_probe_restarts_the_container(cluster: Cluster, handler: dict[str, Any]) -> None:
    probe = {**handler, "periodSeconds": 1, "failureThreshold": 2}
    cluster.pod("sick", {"image": "podwire/echo", "livenessProbe": probe}, ready=False)
    wait_for(lambda: cluster.container("sick")["restartCount"] >= 1, "a restart", 30)
    assert "failed liveness probe, will be restarted" in cluster.kubectl("describe", "pod", "sick").stdout


def test_a_crashing_container_backs_off_and_keeps_its_last_words(cluster: Cluster) -> None:
    cluster.pod("crash", {"command": ["sh", "-c", "echo words; exit 3"]}, ready=False)

    def backs_off() -> bool:
        status = cluster.container("crash")
        return bool(
            status["restartCount"] >= 2
            and status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
            and status["lastState"]["terminated"]["exitCode"] == 3
        )

    wait_for(backs_off, "the back-off", 40)
    assert cluster.kubectl("logs", "crash", "--previous").stdout == "words\n"


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("Never", 5, "Failed"), ("OnFailure", 0, "Succeeded")]
)
def test_pods_that_end(cluster: Cluster, policy: str, code: int, phase: str) -> None:
    cluster.pod("job", {"command": ["sh", "-c", f"exit {code}"]}, ready=False, restartPolicy=policy)
    wait_for(lambda: cluster.phase("job") == phase, phase, 20)
    assert cluster.container("job")["restartCount"] == 0
    node = cluster.get("job")["spec"]["nodeName"]
    held = cluster.lab.node(node).run(["ls", "/run/netns"]).stdout.split()
    assert held == [], "a pod that is over holds no network namespace"


@pytest.mark.parametrize(
    ("container", "reason", "words"),
    [
        ({"image": "nginx:1.27"}, "ErrImageNeverPull", ["nginx:1.27", "cannot be pulled", *READY]),
        ({"image": "x/y", "command": ["/no/such"]}, "CreateContainerError", ["x/y", "/no/such", *READY]),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a"}}}]},
         "CreateContainerConfigError", ["none", "no such configmap"]),
    ],
)  # fmt: skip
def test_what_cannot_run_says_why(cluster: Cluster, container: dict[str, Any], reason: str, words: list[str]) -> None:
    cluster.pod("refused", container, ready=False)
    waiting: Callable[[], dict[str, str]] = lambda: cluster.container("refused")["state"].get("waiting", {})  # noqa: E731
    wait_for(lambda: waiting().get("reason") == reason, reason, 20)
    assert all(word in waiting()["message"] for word in words)


# --- exec and logs


def test_exec_carries_streams_and_status(cluster: Cluster) -> None:
    cluster.pod("sh")
    result = cluster.kubectl("exec", "sh", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.stdout, result.returncode) == ("out\n", 7)
    assert "err\n" in result.stderr
    big = "".join(f"line {number}\n" for number in range(50_000))
    assert cluster.kubectl("exec", "-i", "sh", "--", "cat", text=big).stdout == big
    assert cluster.kubectl("exec", "-i", "sh", "--", "wc", "-c", text="x" * 1000).stdout.strip() == "1000"
    missing = cluster.kubectl("exec", "sh", "--", "/no/such", check=False)
    assert missing.returncode != 0 and "/no/such" in missing.stderr


def test_exec_on_a_terminal(cluster: Cluster) -> None:
    cluster.pod("tty")
    script = "tty; stty size; ps -o tty= -p $$"
    result = subprocess.run(
        ["script", "-qec", f"{tool('kubectl')} exec -it tty -- sh -c '{script}'", "/dev/null"],
        env={**os.environ, "KUBECONFIG": str(cluster.lab.kubeconfig), "COLUMNS": "100", "LINES": "30"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "/dev/pts/0" in result.stdout


def test_logs_by_tail_time_and_container(cluster: Cluster) -> None:
    cluster.pod(
        "talk",
        {"command": ["sh", "-c", "seq 1 100; exec sleep 1000"]},
        {"command": ["sh", "-c", "echo other; exec sleep 1000"]},
    )
    assert cluster.kubectl("logs", "talk", "-c", "c0").stdout.split() == [str(number) for number in range(1, 101)]
    assert cluster.kubectl("logs", "talk", "-c", "c0", "--tail=2").stdout.split() == ["99", "100"]
    assert cluster.kubectl("logs", "talk", "-c", "c1").stdout == "other\n"
    stamped = cluster.kubectl("logs", "talk", "-c", "c0", "--timestamps", "--tail=1").stdout
    assert stamped.split()[0].endswith("Z") and stamped.split()[1] == "100"


def test_logs_are_followed_to_the_end_of_the_container(cluster: Cluster) -> None:
    cluster.pod(
        "count",
        {"command": ["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.3; done"]},
        ready=False,
        restartPolicy="Never",
    )
    wait_for(lambda: cluster.phase("count") != "Pending", "the start", 20)
    assert cluster.kubectl("logs", "-f", "count").stdout.split() == ["1", "2", "3", "4", "5"]


# --- ends


def test_deletion_asks_first_and_leaves_nothing(cluster: Cluster) -> None:
    script = 'trap "echo asked; sleep 0.5; exit 0" TERM; while :; do sleep 0.1; done'
    pod = cluster.pod("polite", {"command": ["sh", "-c", script]}, terminationGracePeriodSeconds=20)
    node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"]
    directory = state_dir(cluster, node) / uid
    assert directory.exists() and cluster.node_pids(node, "default/polite")
    cluster.kubectl("delete", "pod", "polite", "--timeout=15s")
    assert cluster.node_pids(node, "default/polite") == []
    assert cluster.lab.node(node).run(["ls", "/run/netns"]).stdout == ""
    # The kubelet's own note of the pod goes last, once the API server has let the object go.
    wait_for(lambda: not directory.exists(), "the kubelet to forget the pod", 10)


def test_a_stubborn_container_is_killed_after_its_grace(cluster: Cluster) -> None:
    cluster.pod(
        "stubborn",
        {"command": ["sh", "-c", 'trap "" TERM; while :; do sleep 0.1; done']},
        terminationGracePeriodSeconds=1,
    )
    cluster.kubectl("delete", "pod", "stubborn", "--timeout=15s")


# --- deaths


def test_pods_outlive_the_kubelet_and_are_adopted(cluster: Cluster) -> None:
    before = cluster.pod("steady", {"image": "podwire/echo"})
    node = before["spec"]["nodeName"]
    first = cluster.kubelet(node)
    containers = cluster.node_pids(node, "default/steady")
    first_process = identify(first)
    os.kill(first, 9)
    assert first_process is not None
    wait_for(lambda: not alive(first_process), "the kubelet to die", 10)
    wait_for(lambda: cluster.kubectl("exec", "steady", "--", "true", check=False).returncode == 0, "exec to work", 20)
    after = cluster.get("steady")
    assert cluster.node_pids(node, "default/steady") == containers
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert cluster.container("steady")["restartCount"] == 0


def test_a_pod_deleted_while_the_kubelet_is_dead_is_taken_down(cluster: Cluster) -> None:
    pod = cluster.pod("orphan")
    node = cluster.lab.node(pod["spec"]["nodeName"])
    node.enable("kubelet", False)
    try:
        cluster.kubectl("delete", "pod", "orphan", "--force", "--grace-period=0")
    finally:
        node.enable("kubelet", True)
    wait_for(lambda: not list(state_dir(cluster, node.name).iterdir()), "the sandbox to be taken down", 30)
    assert node.run(["ls", "/run/netns"]).stdout == ""


def test_a_killed_sandbox_is_made_anew(cluster: Cluster) -> None:
    pod = cluster.pod("fragile")
    node = pod["spec"]["nodeName"]
    for pid in cluster.node_pids(node, "default/fragile"):
        process = identify(pid)
        os.kill(pid, 9)
        assert process is not None
        wait_for(lambda process=process: not alive(process), "the supervisor to die", 10)
    wait_for(
        lambda: cluster.container("fragile")["restartCount"] == 1 and cluster.container("fragile")["ready"],
        "the restart",
        30,
    )
    assert "Pod sandbox changed" in cluster.kubectl("describe", "pod", "fragile").stdout
    assert len(cluster.lab.node(node).run(["ls", "/run/netns"]).stdout.split()) == 1


def test_a_network_that_refuses_is_quoted_and_tried_again(cluster: Cluster) -> None:
    node = cluster.lab.node("node1")
    node.enable("agent", False)
    try:
        cluster.pod("early", ready=False, nodeName="node1")
        waiting: Callable[[], str] = lambda: str(  # noqa: E731
            cluster.container("early")["state"].get("waiting", {}).get("message", "")
        )
        wait_for(lambda: "network" in waiting() or "sandbox" in waiting(), "the reason", 20)
        wait_for(lambda: "NotReady" in cluster.kubectl("get", "node", "node1").stdout, "the node to be NotReady", 30)
    finally:
        node.enable("agent", True)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/early", "--timeout=40s")
    cluster.kubectl("wait", "--for=condition=Ready", "node/node1", "--timeout=40s")


# --- the examples


def test_the_examples_run(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", str(EXAMPLES))
    try:
        cluster.kubectl("rollout", "status", "deployment/echo", "--timeout=40s")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "pod/client", "--timeout=30s")
        wait_for(lambda: " ok " in cluster.kubectl("logs", "web", "-c", "side").stdout, "the client next door", 20)
        wait_for(lambda: " ok " in cluster.kubectl("logs", "client").stdout, "the world to answer", 20)
    finally:
        cluster.kubectl("delete", "-f", str(EXAMPLES), "--timeout=40s")
