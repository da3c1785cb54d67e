"""Compiling the binary: only when needed, whole, and with an error that helps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from podwire.cni import build
from podwire.model.errors import PodwireError


def test_compiles_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "bin" / "podwire"
    assert build.build(output)
    first = output.read_bytes()
    assert first.startswith(b"\x7fELF") and not build.build(output)
    assert build.build(output, ["PODWIRE_DEADLINE_SECONDS=7"])
    changed = tmp_path / "changed.c"
    changed.write_text(build.SOURCE.read_text() + "\n/* changed */\n")
    monkeypatch.setattr(build, "SOURCE", changed)
    assert build.build(output) and not build.build(output)
    assert sorted(path.name for path in output.parent.iterdir()) == ["podwire", "podwire.stamp"]


def test_source_that_does_not_compile_leaves_the_old_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "podwire"
    build.build(output)
    before = output.read_bytes()
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return x; }\n")
    monkeypatch.setattr(build, "SOURCE", broken)
    with pytest.raises(PodwireError, match="does not compile"):
        build.build(output)
    assert output.read_bytes() == before


def test_no_compiler_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PodwireError, match="musl-tools"):
        build.compiler()


def test_a_missing_binary_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "OUTPUT", tmp_path / "none")
    with pytest.raises(PodwireError, match=r"python -m podwire\.cni\.build"):
        build.binary_path()
