"""Fakes of the kernel driver and the wirer, which check references as the kernel does.

They hold no logic of podwire: a delta that the kernel would refuse is refused here with the same errno. One suite
(``tests/drivers/test_contract_*.py``) runs against both. They can be told to fail the N-th operation
(``injection.fail``), and to have been tampered with (``objects`` and ``pods`` are theirs to change).
"""

from __future__ import annotations

from podwire.drivers.fake_kernel import FakeKernel, Injection
from podwire.drivers.fake_wirer import FakePod, FakeWirer

__all__ = ["FakeKernel", "FakePod", "FakeWirer", "Injection"]
