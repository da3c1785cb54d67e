"""All built-in types, loaded once."""

from __future__ import annotations

from functools import cache

from podwire.lab.apiserver.schema import core, meta, pod, workloads
from podwire.lab.apiserver.schema.notation import Types


@cache
def types() -> Types:
    """The built-in types by name."""
    loaded = Types()
    loaded.load(meta.PACKAGE, meta.TYPES)
    loaded.load(core.PACKAGE, core.TYPES)
    loaded.load(pod.PACKAGE, pod.TYPES)
    for package, text in workloads.TYPES.items():
        loaded.load(package, text)
    return loaded
