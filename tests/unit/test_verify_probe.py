"""The probe as a process: its greeting, its answers, and what garbage, floods and a closed stream do to it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.verify.probe import VERSION
from podwire.verify.probe.senders import Target, send

COMMAND = (sys.executable, "-m", "podwire.verify.probe")
NONCE = "0123456789abcdef"


class Probe:
    """A running probe; each question waits for its answer."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.hello = self.line()

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def say(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, do: str, **arguments: Any) -> Any:
        self.say(json.dumps({"id": 1, "do": do, **arguments}).encode() + b"\n")
        return self.line()

    def close(self) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(10)


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    made = Probe()
    yield made
    assert made.close() == 0


def test_it_greets_with_its_version(probe: Probe) -> None:
    assert probe.hello == {"hello": "podwire-probe", "version": VERSION}


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("length", [128, 1422, 5640])
def test_what_is_sent_is_seen_answered_and_remembered(probe: Probe, proto: str, length: int) -> None:
    port = probe.ask("listen", proto=proto, address="127.0.0.1")["result"]["port"]
    nonce = f"{length:08x}" + ("a" if proto == "tcp" else "b") * 8
    report = probe.ask("send", proto=proto, dst="127.0.0.1", port=port, length=length, nonce=nonce, timeout=5)["result"]
    assert report["delivered"] and report["source"] == "127.0.0.1"
    assert report["seen"] == ["127.0.0.1", report["port"]]
    sighting = probe.ask("seen", nonces=[nonce, "f" * 16])["result"]
    assert sighting == {
        nonce: {"peer": "127.0.0.1", "port": report["port"], "own": "127.0.0.1", "length": length, "intact": True}
    }


def test_a_port_that_nobody_listens_on_is_a_reported_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for proto in ("tcp", "udp"):
            report = send(Target(proto, "127.0.0.1", taken.getsockname()[1], 128, NONCE, 2.0))
            assert (report["delivered"], report["problem"]) == (False, "ECONNREFUSED")


def test_silence_is_a_timeout_after_all_attempts() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        report = send(Target("udp", "127.0.0.1", mute.getsockname()[1], 128, NONCE, 0.05))
        assert (report["delivered"], report["problem"]) == (False, "timeout")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        report = send(Target("tcp", "127.0.0.1", deaf.getsockname()[1], 128, NONCE, 0.05))
        assert (report["delivered"], report["problem"]) == (False, "timeout")


def test_a_taken_port_is_refused_and_a_free_one_let_go(probe: Probe) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        assert probe.ask("bind", port=port)["result"] == {"errno": "EADDRINUSE"}
    assert probe.ask("bind", port=port)["result"] == {"errno": ""}
    assert probe.ask("bind", port=port)["result"] == {"errno": ""}


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"garbage", "not a command: garbage"),
        (b"[1, 2]", "not a command"),
        (b'"x"', "not a command"),
        (b'{"id": 1}', "not a command"),
        (b"\xff\xfe\x00", "not a command"),
        (b"[" * 100_000, "not a command"),
        (b'{"id": 1, "do": "__init__"}', "unknown command"),
        (b'{"id": 1, "do": ["x"]}', "unknown command"),
        (b'{"id": 1, "do": "bind"}', "TypeError"),
        (b'{"id": 1, "do": "bind", "port": "x"}', "TypeError"),
        (b'{"id": 1, "do": "listen", "proto": "tcp", "address": "not an address"}', "gaierror"),
        (b'{"id": 1, "do": "captured", "nonces": [], "name": "none"}', "KeyError"),
        (b'{"id": 1, "do": "largest", "proto": "udp", "dst": "::1", "port": 9, "low": 0, "high": 9, "timeout": 1}', "ValueError"),
    ],
)  # fmt: skip
def test_what_is_no_command_is_answered_with_an_error_and_harms_nothing(probe: Probe, line: bytes, answer: str) -> None:
    probe.say(line + b"\n")
    assert answer in probe.line()["error"]
    assert "result" in probe.ask("seen", nonces=[])


@given(st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line and line.strip() != b""), max_size=8))
@settings(max_examples=25, deadline=None)
def test_noise_between_commands_is_survived(noise: list[bytes]) -> None:
    text = b"".join(line + b"\n" for line in noise) + b'{"id": "last", "do": "seen", "nonces": []}\n'
    done = subprocess.run(COMMAND, input=text, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0 and done.stderr == b""
    for line in done.stdout.splitlines():
        assert isinstance(json.loads(line), dict)


def test_many_commands_at_once_are_all_answered(probe: Probe) -> None:
    port = probe.ask("listen", proto="tcp", address="127.0.0.1")["result"]["port"]
    flow = {"do": "send", "proto": "tcp", "dst": "127.0.0.1", "port": port, "length": 128, "timeout": 10}
    lines = [{"id": number, "nonce": f"{number:016x}", **flow} for number in range(200)]
    probe.say(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    answers = [probe.line() for _ in lines]
    assert sorted(answer["id"] for answer in answers) == list(range(200))
    assert all(answer["result"]["delivered"] for answer in answers)


def test_it_holds_a_pod_until_it_is_told_to_end() -> None:
    process = subprocess.Popen((*COMMAND, "--hold"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0
