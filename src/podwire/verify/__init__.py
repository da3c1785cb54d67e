"""Proof of the three guarantees, on podwire's own network and on anybody else's; and the wiring tree.

The words:

* **probe**: a small program (:mod:`podwire.verify.probe`) that runs in a pod or on a node's network and does what it
  is told over one stream: listens, sends, captures, reports what its namespace looks like;
* **seat**: where a probe runs: a container of a pod, or a node's own network (a hostNetwork pod);
* **flow**: one exchange that is tried: a source seat, a target address, a protocol, a size. Every flow carries a
  **nonce** in each payload, so that a packet is recognised whatever was done to its header on the way;
* **evidence**: what the sender, the receiver, the packets captured at both ends and the nodes' conntrack say of a flow;
* **finding**: what is broken and where, named from the evidence and the nodes' observations;
* **verdict**: of a guarantee: proven, broken, or not proven (it could not be carried out, which is not the same);
* **transport**: how probes are started and reached: through the Kubernetes API, or in plain namespaces (tests).

Which flows are tried (:mod:`.plan`), what their evidence amounts to (:mod:`.evidence`) and what is broken
(:mod:`.diagnose`) are pure functions of values; :mod:`.run` carries them out. Nothing here repairs anything.
"""
