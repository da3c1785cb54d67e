"""The runtime's half of CNI: execs the plugins of a chain as libcni does (CNI specification 1.1.0, sections 2 to 4).

ADD runs the plugins in order, each given the result of the one before as ``prevResult``; DEL in the opposite order,
with the result that the ADD ended with, which is kept in the cache directory in libcni's own format. An attachment is
deleted with the configuration that it was added with, even if the file has changed since.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from podwire.lab.kubelet import cni_conf
from podwire.lab.kubelet.cni_cache import ResultCache, Target
from podwire.lab.kubelet.cni_conf import Network
from podwire.model.addresses import IPInterface, interface
from podwire.model.errors import CniError

_OUTPUT_LIMIT = 2000


class CniRuntime:
    """The plugins of a node. All paths are as the node sees them; *timeout* is for one plugin, in seconds."""

    def __init__(self, conf_dir: Path, bin_dirs: Sequence[Path], cache_dir: Path, timeout: float = 150.0) -> None:
        self._conf_dir = conf_dir
        self._bin_dirs = bin_dirs
        self._cache = ResultCache(cache_dir)
        self._timeout = timeout

    def network(self) -> Network:
        """The configuration in force; NotReady if there is none."""
        return cni_conf.load_first(self._conf_dir)

    async def add(self, network: Network, target: Target) -> tuple[IPInterface, ...]:
        """Attach *target*; the addresses that it got. CniError carries the failing plugin's code and message."""
        result: dict[str, Any] | None = None
        for plugin in network.plugins:
            answer = await self._exec("ADD", network, plugin, target, result)
            if not isinstance(answer, dict):
                raise CniError(100, f'plugin type="{plugin["type"]}" failed (add): it printed no result')
            result = answer
        addresses = addresses_of(result or {})
        self._cache.put(network, target, result)
        return addresses

    async def delete(self, network: Network | None, target: Target) -> None:
        """Detach *target*: with the configuration it was added with, or *network* when none is known."""
        network, result = self._cache.find(target, network)
        if network is None:
            return
        for plugin in reversed(network.plugins):
            await self._exec("DEL", network, plugin, target, result if network.at_least("0.4.0") else None)
        self._cache.remove(network.name, target)

    async def check(self, network: Network, target: Target) -> None:
        """Have every plugin confirm that *target* is as it made it; CniError if not."""
        if network.disable_check or not network.at_least("0.4.0"):
            return
        cached, result = self._cache.find(target, network)
        if cached is None or result is None:
            raise CniError(100, f"{target.container_id} has no cached result, so it cannot be checked")
        for plugin in cached.plugins:
            await self._exec("CHECK", cached, plugin, target, result)

    async def status(self, network: Network) -> None:
        """Ask every plugin whether it can serve ADD; CniError (50, 51…) if not. Below version 1.1.0: no question."""
        if network.at_least("1.1.0"):
            for plugin in network.plugins:
                await self._exec("STATUS", network, plugin, None, None)

    async def gc(self, network: Network, valid: Iterable[Target]) -> None:
        """Tell the plugins which attachments exist; cached ones that do not are deleted first, as libcni does."""
        keep = {(target.container_id, target.ifname): target for target in valid}
        for target in self._cache.targets(network.name):
            if (target.container_id, target.ifname) not in keep:
                await self.delete(network, target)
        if network.disable_gc or not network.at_least("1.1.0"):
            return
        known = [{"containerID": target.container_id, "ifname": target.ifname} for target in keep.values()]
        for plugin in network.plugins:
            await self._exec("GC", network, {**plugin, "cni.dev/valid-attachments": known}, None, None)

    async def _exec(
        self,
        verb: str,
        network: Network,
        plugin: Mapping[str, Any],
        target: Target | None,
        previous: Mapping[str, Any] | None,
    ) -> object:
        kind = str(plugin["type"])
        binary = self._find(kind)
        env = {"PATH": os.environ.get("PATH", os.defpath), "CNI_COMMAND": verb}
        env["CNI_PATH"] = ":".join(map(str, self._bin_dirs))
        if target is not None:
            env |= {"CNI_CONTAINERID": target.container_id, "CNI_NETNS": target.netns, "CNI_IFNAME": target.ifname}
            env["CNI_ARGS"] = ";".join(f"{name}={value}" for name, value in target.args.items())
        stdin = msgspec.json.encode(plugin_configuration(network, plugin, target, previous))
        process = await asyncio.create_subprocess_exec(
            binary,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._timeout):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            raise CniError(
                100, f'plugin type="{kind}" failed ({verb.lower()}): no answer in {self._timeout:.0f} s'
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise plugin_error(kind, verb, out, err)
        try:
            return msgspec.json.decode(out) if out.strip() else None
        except msgspec.DecodeError as error:
            raise CniError(
                6, f'plugin type="{kind}" failed ({verb.lower()}): its answer is not JSON ({error})'
            ) from None

    def _find(self, kind: str) -> Path:
        for directory in self._bin_dirs:
            if os.access(directory / kind, os.X_OK):
                return directory / kind
        looked = ", ".join(map(str, self._bin_dirs))
        raise CniError(100, f'failed to find plugin "{kind}" in path [{looked}]')


def plugin_configuration(
    network: Network, plugin: Mapping[str, Any], target: Target | None, previous: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What one plugin gets on stdin: specification 1.1.0, section 3, "Deriving request configuration"."""
    derived = {**plugin, "name": network.name, "cniVersion": network.version}
    declared = plugin.get("capabilities") or {}
    offered = target.capabilities if target is not None else {}
    runtime = {name: offered[name] for name, wanted in declared.items() if wanted and name in offered}
    if runtime:
        derived["runtimeConfig"] = runtime
    if previous is not None:
        derived["prevResult"] = previous
    return derived


def plugin_error(kind: str, verb: str, out: bytes, err: bytes) -> CniError:
    """The error that a plugin printed, in the words that containerd puts around it."""
    where = f'plugin type="{kind}" failed ({verb.lower()})'
    try:
        document = msgspec.json.decode(out)
        code, message, details = int(document["code"]), str(document["msg"]), str(document.get("details", ""))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        said = (err or out).decode(errors="replace").strip()[-_OUTPUT_LIMIT:] or "no error message"
        return CniError(100, f"{where}: {said}")
    return CniError(code, f"{where}: {message}" + (f"; {details}" if details else ""), details)


def addresses_of(result: Mapping[str, Any]) -> tuple[IPInterface, ...]:
    """The addresses of a result of version 0.3.1 to 1.1.0 that belong to the sandbox, in order."""
    addresses = []
    interfaces = result.get("interfaces") or []
    for entry in result.get("ips") or []:
        index = entry.get("interface")
        inside = not isinstance(index, int) or index >= len(interfaces) or bool(interfaces[index].get("sandbox"))
        if inside:
            addresses.append(interface(str(entry["address"]), "ips[].address"))
    return tuple(addresses)
