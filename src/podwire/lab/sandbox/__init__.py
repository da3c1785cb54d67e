"""Hosts made of namespaces: network, mount, pid, uts, ipc and cgroup, with an init of their own.

The words:

* **sandbox**: those namespaces and all that runs in them. It dies with its init, whatever else happens, because the
  init is the first process of its pid namespace;
* **init** (:mod:`podwire.lab.sandbox.init`): sets up the mounts, then starts the **services**, restarts those that die,
  and reaps orphans. It runs as ``python -I -S`` on the standard library alone, to be quick and small;
* **plan** (a JSON file that :mod:`podwire.lab.sandbox.plan` describes): all that the init is told.

From outside a sandbox is started and stopped by :mod:`podwire.lab.sandbox.host`. A sandbox cannot write to the
machine's file systems: / is read-only in it, and what a host writes to (/etc, /opt, /run, /tmp, /var/lib, /var/log) is
its own. This is order between well-meaning programs, not a prison: everything in it is root.

Import nothing here: the init must start quickly.
"""
