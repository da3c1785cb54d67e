"""The values that every other room speaks in. No I/O, no clock, nothing of ours imported.

The words:

* **node**, **pod**, **pod CIDR**: as in Kubernetes (:mod:`podwire.model.cluster`);
* **attachment**: one interface of one container, as CNI counts (:mod:`podwire.model.attachment`);
* **underlay**: the nodes' own network, which carries the pods' packets;
* **Snapshot**: all that a plan for a node is made from;
* **Intent**: the kernel objects that should exist on a node, each with its **Cause** (:mod:`podwire.model.intent`);
* **NodeState**: the kernel objects that do exist, of what is ours (:mod:`podwire.model.kernel` says what is ours);
* **Delta**: what turns one into the other;
* **Config**: the YAML that a user writes (:mod:`podwire.model.config`).
"""
