"""Compile the CNI binary: ``python -m podwire.cni.build``.

The binary is static, so that it runs in whatever root file system the runtime has. It is rebuilt when its source or
the flags have changed since (a stamp beside it holds their digest), otherwise left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from podwire.model.errors import PodwireError

SOURCE = Path(__file__).parent / "shim" / "podwire-cni.c"
OUTPUT = Path(__file__).parent / "_bin" / "podwire"
FLAGS = (
    "-std=c11",
    "-static",
    "-Os",
    "-s",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fstack-protector-strong",
    "-Wl,-z,relro,-z,now,-z,noexecstack",
)
COMPILERS = ("musl-gcc", "gcc", "cc")
"""In the order of preference: musl's static binary starts in half the time of glibc's."""


def compiler() -> str:
    """The C compiler to use; PodwireError that says which package has one."""
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    raise PodwireError(
        "the CNI binary cannot be compiled: no C compiler found", remedy="apt-get install musl-tools gcc"
    )


def _stamp(defines: Sequence[str]) -> str:
    digest = hashlib.sha256(SOURCE.read_bytes())
    digest.update("\0".join((*FLAGS, *defines)).encode())
    return digest.hexdigest()


def build(output: Path = OUTPUT, defines: Sequence[str] = ()) -> bool:
    """Compile into *output* unless it is up to date, and return whether it was compiled.

    *defines* are ``NAME=value`` for the preprocessor: tests set PODWIRE_RUN_DIR so. Several builds at once are
    harmless: each writes a file of its own and renames it.
    """
    stamp, stamp_file = _stamp(defines), output.with_name(output.name + ".stamp")
    if output.exists() and stamp_file.exists() and stamp_file.read_text() == stamp:
        return False
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as folder:
        made, noted = Path(folder, "podwire"), Path(folder, "stamp")
        command = [compiler(), *FLAGS, *(f"-D{define}" for define in defines), "-o", str(made), str(SOURCE)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise PodwireError(
                f"the CNI binary does not compile ({command[0]} exited {result.returncode}): {result.stderr.strip()}"
            )
        noted.write_text(stamp)
        made.replace(output)
        noted.replace(stamp_file)
    return True


def binary_path() -> Path:
    """The compiled binary; PodwireError when it was never compiled."""
    if not os.access(OUTPUT, os.X_OK):
        raise PodwireError(f"the CNI binary {OUTPUT} is missing", remedy="compile it with: python -m podwire.cni.build")
    return OUTPUT


def main() -> int:
    """Build, print one line, and return the exit status."""
    try:
        compiled = build()
    except PodwireError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{OUTPUT}: {'compiled' if compiled else 'up to date'}, {OUTPUT.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
