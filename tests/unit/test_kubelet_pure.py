"""The kubelet's small pure parts: back-off, probes' thresholds, environment, files, blueprints, logs, clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from podwire.lab import images
from podwire.lab.kubelet import clock, logs
from podwire.lab.kubelet.blueprint import DEFAULT_CAPABILITIES, PodGround, Refused, container_spec, visible_paths
from podwire.lab.kubelet.environment import PodFacts, Sources, environment, expand, hostname, references
from podwire.lab.kubelet.objects import Pod
from podwire.lab.kubelet.pod_files import hosts, resolv_conf, volume_mounts, write_pod_files
from podwire.lab.kubelet.probes import Counter, Failed, port_number
from podwire.lab.kubelet.restart import Backoff, restarts
from podwire.lab.kubelet.runtime.logfile import MAX_PIECE, LogFile, timestamp
from podwire.lab.kubelet.streams import exit_status
from podwire.model.errors import InputError

FACTS = PodFacts("n1", ("10.89.0.11",), ("10.244.1.5", "fd00::5"))


def make_pod(container: dict[str, Any] | None = None, **spec: Any) -> Pod:
    body = {
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "podwire/shell", **(container or {})}], **spec},
    }
    return msgspec.convert(body, Pod)


# --- restarts


def test_back_off_doubles_to_its_limit_and_starts_over_after_a_steady_run() -> None:
    backoff = Backoff(1.0, 8.0)
    delays = []
    for now in range(0, 600, 100):
        backoff.failed(float(now))
        delays.append(backoff.wait(float(now)))
    assert delays == [1, 2, 4, 8, 8, 8]
    assert backoff.wait(507.0) == 1.0 and backoff.wait(600.0) == 0.0
    backoff.failed(1000.0, ran_for=80.0)
    assert backoff.wait(1000.0) == 1.0
    backoff.succeeded()
    assert backoff.wait(1000.0) == 0.0


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policy(policy: str, code: int, again: bool) -> None:
    assert restarts(policy, code) is again


# --- probes


def test_thresholds_count_consecutive_results() -> None:
    counter = Counter(success_threshold=2, failure_threshold=3)
    results = [True, False, True, True, False, False, True, False, False, False, False]
    changes = [counter.feed(result) for result in results]
    assert [index for index, changed in enumerate(changes) if changed] == [3, 9]
    assert counter.good is False


def test_ports_by_name_and_number() -> None:
    container = make_pod({"ports": [{"containerPort": 8080, "name": "http"}]}).spec.containers[0]
    assert (
        port_number(container, "http") == 8080 and port_number(container, 9) == 9 and port_number(container, "9") == 9
    )
    with pytest.raises(Failed, match="no port named"):
        port_number(container, "web")


# --- environment


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)x", "$(B)x"), ("$A ${A}", "$A ${A}"), ("$(A)$(A)", "11"), ("a$", "a$")],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_environment_in_order_with_the_downward_api() -> None:
    paths = {
        "NODE": "spec.nodeName", "IP": "status.podIP", "IPS": "status.podIPs", "HOST": "status.hostIP",
        "NAME": "metadata.name", "NS": "metadata.namespace", "APP": "metadata.labels['app']",
    }  # fmt: skip
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    env += [{"name": "URL", "value": "http://$(IP):80"}, {"name": "PATH", "value": "/x:$(PATH)"}]
    pod = make_pod({"env": env})
    made = environment(pod, pod.spec.containers[0], FACTS, Sources(), "/bin")
    assert made == {
        "PATH": "/x:/bin", "HOSTNAME": "web-0", "HOME": "/root", "PYTHONUNBUFFERED": "1", "NODE": "n1",
        "IP": "10.244.1.5", "IPS": "10.244.1.5,fd00::5", "HOST": "10.89.0.11", "NAME": "web-0", "NS": "shop",
        "APP": "web", "URL": "http://10.244.1.5:80",
    }  # fmt: skip


def test_config_maps_and_secrets_in_the_environment() -> None:
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "b"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "c", "optional": True}}},
    ]
    pod = make_pod({"env": env, "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}]})
    sources = Sources({"cm": {"data": {"a": "1"}}}, {"s": {"data": {"b": "c2VjcmV0"}}})
    made = environment(pod, pod.spec.containers[0], FACTS, sources, "/bin")
    assert (made["A"], made["B"], made["P_a"], "C" in made) == ("1", "secret", "1", False)
    assert references(pod) == ({"cm", "none"}, {"s"})


@pytest.mark.parametrize(
    "value_from",
    [
        {"fieldRef": {"fieldPath": "spec.secret"}},
        {"configMapKeyRef": {"name": "none", "key": "a"}},
        {"secretKeyRef": {"name": "none", "key": "a"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
    ],
)
def test_what_is_missing_is_named(value_from: dict[str, Any]) -> None:
    pod = make_pod({"env": [{"name": "X", "valueFrom": value_from}]})
    with pytest.raises(InputError):
        environment(pod, pod.spec.containers[0], FACTS, Sources(), "/bin")


def test_long_names_make_valid_host_names() -> None:
    pod = make_pod()
    pod.metadata.name = "a" * 62 + "-b"
    assert hostname(pod) == "a" * 62


# --- files


def test_hosts_and_resolv_conf() -> None:
    pod = make_pod(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}], subdomain="web")
    text = hosts(pod, FACTS.pod_ips, "cluster.local")
    assert "10.244.1.5\tweb-0.web.shop.svc.cluster.local web-0\n" in text and "1.2.3.4\ta b\n" in text
    assert resolv_conf(pod, "nameserver 9.9.9.9", ["10.96.0.10"], "cluster.local") == (
        "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    )
    assert resolv_conf(pod, "nameserver 9.9.9.9", [], "cluster.local") == "nameserver 9.9.9.9\n"
    of_host = make_pod(hostNetwork=True)
    assert resolv_conf(of_host, "nameserver 9.9.9.9\n", ["10.96.0.10"], "cluster.local") == "nameserver 9.9.9.9\n"
    own = make_pod(
        dnsPolicy="None", dnsConfig={"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}
    )
    assert resolv_conf(own, "nameserver 9.9.9.9\n", [], "cluster.local") == "nameserver 1.1.1.1\noptions ndots:2\n"


def test_volumes_of_every_kind(tmp_path: Path) -> None:
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "conf", "configMap": {"name": "cm", "items": [{"key": "a", "path": "dir/a.txt"}]}},
        {"name": "keys", "secret": {"secretName": "s"}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "DirectoryOrCreate"}},
    ]
    pod = make_pod(volumes=volumes)
    sources = Sources({"cm": {"data": {"a": "1", "b": "2"}}}, {"s": {"data": {"b": "c2VjcmV0"}}})
    places = volume_mounts(tmp_path, pod, sources)
    assert list(places["scratch"].iterdir()) == []
    assert (places["conf"] / "dir/a.txt").read_text() == "1" and not (places["conf"] / "b").exists()
    assert (places["keys"] / "b").read_text() == "secret" and (places["keys"] / "b").stat().st_mode & 0o077 == 0
    assert places["host"].is_dir()


@pytest.mark.parametrize(
    "volume",
    [
        {"configMap": {"name": "none"}},
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "../../etc/passwd"}]}},
        {"configMap": {"name": "cm", "items": [{"key": "nope", "path": "x"}]}},
        {"persistentVolumeClaim": {"claimName": "x"}},
        {"hostPath": {"path": "/no/such/path"}},
    ],
)
def test_volumes_that_cannot_be_are_refused(tmp_path: Path, volume: dict[str, Any]) -> None:
    pod = make_pod(volumes=[{"name": "v", **volume}])
    with pytest.raises(InputError, match="volume v"):
        volume_mounts(tmp_path, pod, Sources({"cm": {"data": {"a": "1"}}}))


# --- images and blueprints


@pytest.mark.parametrize("name", ["podwire/echo", "podwire/echo:latest", "docker.io/podwire/echo:1@sha256:00"])
def test_ready_workloads_by_any_reference(name: str) -> None:
    ready = images.ready(name)
    assert ready is images.READY["podwire/echo"]
    assert images.command_line(name, (), ("--http", "80")) == (*ready.entrypoint, "--http", "80")
    assert images.command_line(name, ("sleep",), ("1",)) == ("sleep", "1")


def test_an_image_that_cannot_be_pulled_is_refused_unless_a_command_is_given() -> None:
    assert images.command_line("nginx:1.27", ("sleep", "5"), ()) == ("sleep", "5")
    with pytest.raises(images.Unresolvable, match=r"nginx:1\.27.*podwire/echo"):
        images.command_line("nginx:1.27", (), ("-g",))
    message = images.missing_command("nginx", ["nginx"])
    assert all(word in message for word in ('"nginx"', "not on this machine", *images.READY))


def ground(tmp_path: Path, pod: Pod, **changes: Any) -> PodGround:
    files = write_pod_files(tmp_path, pod, {"/etc/hosts": "x"})
    made = PodGround(tmp_path, tmp_path / "logs", FACTS, Sources(), files, {}, ["/opt/venv"])
    return msgspec.structs.replace(made, **changes)


def test_a_blueprint_holds_what_the_spec_says(tmp_path: Path) -> None:
    security = {
        "capabilities": {"add": ["NET_ADMIN", "CAP_SYS_TIME"], "drop": ["CHOWN"]},
        "runAsUser": 7, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    pod = make_pod(
        {"command": ["echo", "$(X)"], "env": [{"name": "X", "value": "hi"}], "workingDir": "/srv", "securityContext": security,
         "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "deep", "readOnly": True}]},
        securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]},
    )  # fmt: skip
    spec = container_spec(pod, pod.spec.containers[0], 3, ground(tmp_path, pod, volumes={"data": tmp_path / "data"}))
    assert spec["argv"] == ["echo", "hi"] and spec["cwd"] == "/srv" and spec["attempt"] == 3
    assert set(spec["capabilities"]) == (DEFAULT_CAPABILITIES - {"CHOWN"}) | {"NET_ADMIN", "SYS_TIME"}
    assert (spec["uid"], spec["gid"], spec["groups"]) == (7, 2, [3, 4])
    assert spec["no_new_privileges"] and spec["read_only_root"] and not spec["privileged"]
    assert spec["mounts"][1] == {"source": str(tmp_path / "data/deep"), "target": "/data", "read_only": True}
    assert spec["log"].endswith("logs/main/3.log") and spec["visible"] == ["/opt/venv"]


@pytest.mark.parametrize(
    ("container", "spec", "reason"),
    [
        ({"image": "nginx"}, {}, "ErrImageNeverPull"),
        ({}, {"hostPID": True}, "CreateContainerConfigError"),
        ({"securityContext": {"runAsNonRoot": True}}, {}, "CreateContainerConfigError"),
        ({"securityContext": {"capabilities": {"add": ["NONSENSE"]}}}, {}, "CreateContainerConfigError"),
        ({"volumeMounts": [{"name": "none", "mountPath": "/x"}]}, {}, "CreateContainerConfigError"),
        ({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "no"}}}]}, {}, "CreateContainerConfigError"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    tmp_path: Path, container: dict[str, Any], spec: dict[str, Any], reason: str
) -> None:
    pod = make_pod(container, **spec)
    with pytest.raises(Refused) as caught:
        container_spec(pod, pod.spec.containers[0], 0, ground(tmp_path, pod))
    assert caught.value.reason == reason


def test_paths_on_other_mounts_must_be_made_visible() -> None:
    mountinfo = "1 0 8:1 / / rw - ext4 x x\n2 1 8:2 / /opt/venv rw - ext4 x x\n3 1 8:2 / /home\\040dir rw - ext4 x x\n"
    wanted = ["/opt/venv/bin", "/opt/other", "/usr", "/home dir/p", "/tmp/clone", "/opt/venv2"]
    assert visible_paths(mountinfo, wanted) == ["/opt/venv/bin", "/home dir/p", "/tmp/clone"]


# --- logs


def test_logs_are_cri_and_long_lines_come_in_pieces(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"))
    log.feed("stdout", b"one\ntw", 1_700_000_000_000_000_005)
    log.feed("stderr", b"err\n", 1_700_000_000_000_000_006)
    log.feed("stdout", b"o\n" + b"x" * (MAX_PIECE + 5) + b"\nlast", 1_700_000_000_000_000_007)
    log.end("stdout", 1_700_000_000_000_000_008)
    log.close()
    lines = (tmp_path / "0.log").read_bytes().splitlines()
    assert lines[0] == b"2023-11-14T22:13:20.000000005Z stdout F one"
    assert lines[1].endswith(b"6Z stderr F err") and lines[2].endswith(b"stdout F two")
    assert lines[3].split(b" ")[2] == b"P" and lines[4].endswith(b"F xxxxx") and lines[5].endswith(b"F last")
    query = logs.LogQuery()
    texts = [logs.decode(line, query) for line in logs.last_lines((tmp_path / "0.log").read_bytes(), 2)]
    assert b"".join(texts) == b"x" * (MAX_PIECE + 5) + b"\nlast\n"


@pytest.mark.parametrize(("count", "expected"), [(-1, 4), (0, 0), (1, 1), (2, 2), (99, 4)])
def test_tail_counts_lines(count: int, expected: int) -> None:
    content = b"".join(b"%s stdout F line\n" % timestamp(number).encode() for number in range(4))
    assert len(logs.last_lines(content, count)) == expected


def test_log_lines_by_time_and_with_stamps() -> None:
    line = b"2023-11-14T22:13:20.000000005Z stdout F hello world"
    assert logs.decode(line, logs.LogQuery()) == b"hello world\n"
    assert logs.decode(line, logs.LogQuery(timestamps=True)) == b"2023-11-14T22:13:20.000000005Z hello world\n"
    assert logs.decode(line, logs.LogQuery(since=1_700_000_001)) == b""
    assert logs.decode(b"garbage", logs.LogQuery()) == b""


def test_a_full_log_is_rotated(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"), limit=200)
    for number in range(10):
        log.feed("stdout", b"line %d\n" % number, number)
    log.close()
    assert (tmp_path / "0.log.1").exists() and (tmp_path / "0.log").stat().st_size < 200


async def test_following_a_log_over_its_rotation_loses_nothing(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"), limit=300)
    log.feed("stdout", b"line 0\n", 0)
    number = 0

    def running() -> bool:
        nonlocal number
        number += 1
        if number < 40:
            log.feed("stdout", b"line %d\n" % number, number)
        return number < 40

    read = b"".join([text async for text in logs.read(tmp_path / "0.log", logs.LogQuery(follow=True), running)])
    log.close()
    assert read == b"".join(b"line %d\n" % number for number in range(40))


def test_times_round_trip() -> None:
    assert clock.stamp(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    assert clock.seconds_of(clock.stamp(1_700_000_000)) == 1_700_000_000
    assert clock.seconds_of(clock.micro_stamp(1_700_000_000.25)) == 1_700_000_000.25


def test_exit_statuses() -> None:
    assert msgspec.json.decode(exit_status(0)) == {"metadata": {}, "status": "Success"}
    failure = msgspec.json.decode(exit_status(3))
    assert failure["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
