"""Stand-ins for what a lab runs, so that fabric, sandboxes and life cycle are tested without a control plane."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from podwire.lab.cluster import Lab
from podwire.lab.programs import HostPlan
from podwire.lab.sandbox.plan import ServicePlan, base_environment
from podwire.lab.spec import LabSpec, NodeRecord

_ACCEPT = """
import socket
listener = socket.socket(fileno=3)
while True:
    peer, _ = listener.accept()
    peer.sendall(socket.gethostname().encode())
    peer.close()
"""


class SleepingPrograms:
    """One idle service a host; the control plane greets whoever connects to its loopback socket."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.fail_on = ""

    def _idle(self, lab: Lab, what: str) -> HostPlan:
        argv = ("/bin/sleep", "100000")
        files = {"/etc/podwire/config.yaml": what.encode()}
        return HostPlan({what: ServicePlan(argv, base_environment(lab.directory.marker))}, files)

    def check(self, spec: LabSpec) -> None:
        pass

    def prepare(self, lab: Lab) -> None:
        lab.kubeconfig.write_text("stand-in")

    def control(self, lab: Lab, sockets: Sequence[str]) -> HostPlan:
        env = base_environment(lab.directory.marker)
        return HostPlan({"greeter": ServicePlan((sys.executable, "-c", _ACCEPT), env, descriptors=("loopback",))})

    def node(self, lab: Lab, node: NodeRecord) -> HostPlan:
        return self._idle(lab, "agent")

    def world(self, lab: Lab) -> HostPlan:
        return self._idle(lab, "echo")

    def wait_control(self, lab: Lab, timeout: float) -> None:
        self._maybe_fail("control")

    def wait_nodes(self, lab: Lab, nodes: Sequence[str], timeout: float) -> None:
        self._maybe_fail("nodes")

    def forget(self, lab: Lab, node: NodeRecord) -> None:
        self.forgotten.append(node.name)

    def _maybe_fail(self, step: str) -> None:
        if step == self.fail_on:
            raise KeyboardInterrupt
