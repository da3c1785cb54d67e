"""The CNI plugin: from the container runtime's exec to a pod that is on the network (CNI specification 1.1.0).

The way of a request::

    runtime ─exec─▶ shim (C) ─unix socket─▶ server ─▶ verbs ─▶ request ─▶ attachments ─▶ ipam, store, wirer
                      └─ no agent: DEL ─▶ spool directory ─▶ spool, when the agent is back

* **shim**: the binary ``podwire`` (``shim/podwire-cni.c``, compiled by :mod:`~podwire.cni.build`). It thinks as little
  as possible; the wire between it and the agent is :mod:`~podwire.cni.protocol`.
* **verb**: ADD, DEL, CHECK, GC, STATUS (VERSION is answered by the shim alone).
* **request**: a verb's environment and stdin, validated (:mod:`~podwire.cni.request`, :mod:`~podwire.cni.arguments`).
* **attachment**: one interface of one container; :mod:`~podwire.cni.attachments` is the only writer of a node's.
* **result**: what ADD answers, in the cniVersion that was asked in (:mod:`~podwire.cni.result`).
* **code**: the number of an error (:mod:`~podwire.cni.codes`).

What it does not do: decide what the wiring looks like (``plan.wiring``), make it (``drivers``), choose addresses
(``ipam``). It starts no loop of its own: the agent does.
"""
