"""Installing the plugin: the conflist last, whole, and only when something changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from podwire.cni import install
from podwire.model.config import CniConfig
from podwire.model.errors import PodwireError


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"\x7fELF")
    return path


@pytest.fixture
def config(tmp_path: Path) -> CniConfig:
    return CniConfig(bin_dir=str(tmp_path / "opt/bin"), conf_dir=str(tmp_path / "etc/net.d"))


def test_binary_first_then_conflist_then_nothing(binary: Path, config: CniConfig) -> None:
    changed = install.install(config, binary)
    assert [path.name for path in changed] == ["podwire", "10-podwire.conflist"]
    assert changed[0].stat().st_mode & 0o777 == 0o755
    assert json.loads(changed[1].read_text()) == {
        "cniVersion": "1.0.0",
        "cniVersions": ["1.0.0", "1.1.0"],
        "name": "podwire",
        "plugins": [{"type": "podwire", "capabilities": {"ips": True, "mac": True}}],
    }
    assert install.install(config, binary) == []
    assert sorted(path.name for path in Path(config.conf_dir).iterdir()) == ["10-podwire.conflist"]


def test_only_what_differs_is_written(binary: Path, config: CniConfig) -> None:
    program, conflist = install.install(config, binary)
    conflist.write_text("{}")
    assert install.install(config, binary) == [conflist]
    program.chmod(0o600)
    assert install.install(config, binary) == [program]


def test_no_conflist_without_a_binary(config: CniConfig, binary: Path) -> None:
    Path(config.bin_dir, "podwire").mkdir(parents=True)
    with pytest.raises(PodwireError, match="cannot install"):
        install.install(config, binary)
    assert not Path(config.conf_dir).exists()


def test_a_failed_write_leaves_the_old_file_and_no_other(
    binary: Path, config: CniConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, conflist = install.install(config, binary)
    before = conflist.read_bytes()

    def no_space(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(PodwireError, match="No space left"):
        install.install(CniConfig(bin_dir=config.bin_dir, conf_dir=config.conf_dir, network="other"), binary)
    assert conflist.read_bytes() == before
    assert [path.name for path in Path(config.conf_dir).iterdir()] == [conflist.name]


def test_uninstall_takes_the_conflist_first_and_is_idempotent(binary: Path, config: CniConfig) -> None:
    changed = install.install(config, binary)
    assert install.uninstall(config) == changed[::-1]
    assert install.uninstall(config) == []


def test_rivals_are_those_that_a_runtime_would_prefer(config: CniConfig) -> None:
    assert install.rivals(config) == []
    folder = Path(config.conf_dir)
    folder.mkdir(parents=True)
    for name in ("05-cilium.conflist", "10-podwire.conflist", "87-bridge.conf", "00-README"):
        (folder / name).touch()
    assert [path.name for path in install.rivals(config)] == ["05-cilium.conflist"]
