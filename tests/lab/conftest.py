"""A whole lab for tests: three nodes with the real agent, of a name that nobody else has, taken down whatever happens."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import msgspec
import pytest

from podwire.lab.cluster import Lab
from podwire.lab.spec import LabSpec


@pytest.fixture(scope="module")
def lab_spec() -> LabSpec:
    """Override this in a module to have another kind of lab; the name is replaced."""
    return LabSpec()


@pytest.fixture(scope="module")
def lab(lab_spec: LabSpec) -> Iterator[Lab]:
    """A lab that is Ready, shared by the tests of a module."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a lab")
    from podwire.lab.kubernetes import Kubernetes
    from podwire.lab.lifecycle import down, up

    name = f"test-{secrets.token_hex(4)}"
    try:
        yield up(msgspec.structs.replace(lab_spec, name=name), Kubernetes())
    finally:
        down(name)
