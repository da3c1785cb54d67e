"""Which cluster ``podwire verify`` means, and what it refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from podwire.model.errors import InputError
from podwire.verify import k8s_objects
from podwire.verify.command import find_kubeconfig, verify_command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PODWIRE_LAB_DIR", str(tmp_path / "labs"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def lab(home: Path, name: str) -> Path:
    path = home / "labs" / name / "kubeconfig"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_what_is_given_wins_and_two_of_it_are_refused(home: Path) -> None:
    lab(home, "default")
    assert find_kubeconfig("/x", None) == "/x"
    with pytest.raises(InputError, match="give one of the two"):
        find_kubeconfig("/x", "two")


def test_a_lab_is_found_by_its_name_and_one_that_is_not_up_is_named(home: Path) -> None:
    path = lab(home, "two")
    assert find_kubeconfig(None, "two") == str(path)
    with pytest.raises(InputError, match=r"--lab: 'three' is not up; podwire lab up --name three"):
        find_kubeconfig(None, "three")


def test_without_options_it_is_the_environment_then_the_lab_then_the_usual_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="podwire lab up"):
        find_kubeconfig(None, None)
    usual = home / ".kube" / "config"
    usual.parent.mkdir()
    usual.touch()
    assert find_kubeconfig(None, None) == str(usual)
    path = lab(home, "default")
    assert find_kubeconfig(None, None) == str(path)
    monkeypatch.setenv("KUBECONFIG", "/env/one:/env/two")
    assert find_kubeconfig(None, None) == "/env/one"


@pytest.mark.parametrize("arguments", [["--sample", "1"], ["--timeout", "0"], ["-o", "xml"], ["extra"]])
def test_impossible_arguments_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(verify_command, arguments).exit_code == 2


def test_a_pod_tells_where_it_belongs_before_it_is_scheduled_and_why_it_waits() -> None:
    import msgspec

    pod = msgspec.convert(
        {
            "metadata": {"name": "first-x", "namespace": "v", "labels": {"role": "first"}},
            "spec": {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "values": ["n7"]}]}]
                        }
                    }
                }
            },
            "status": {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "too full"}
                ],
            },
        },
        k8s_objects.ProbePod,
    )
    assert (pod.node, pod.running, pod.obstacle()) == ("n7", False, "Unschedulable: too full")
    assert k8s_objects.missing([pod], ["n7"])[0] == ("n7", "first", "Unschedulable: too full")
    assert len(k8s_objects.missing([], ["n7", "n8"])) == 6


@pytest.mark.parametrize("role", list(k8s_objects.DAEMON_SETS))
def test_probe_pods_run_everywhere_with_no_more_than_they_need(role: str) -> None:
    template = k8s_objects.daemon_set(role, "podwire/probe", ())["spec"]["template"]
    spec = template["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}] and spec["automountServiceAccountToken"] is False
    assert spec.get("hostNetwork", False) is (role == "node")
    for container in spec["containers"]:
        added = container["securityContext"]["capabilities"]["add"]
        assert added == (["NET_RAW", "NET_ADMIN"] if role == "node" else ["NET_RAW"])
        assert "privileged" not in container["securityContext"] and "command" not in container
