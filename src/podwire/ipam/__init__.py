"""Address allocation: which address a pod gets, which CIDR a node gets. Pure: no I/O, time comes in as an argument.

The words:

* **pool**: a pod CIDR of this node, from which pods' addresses are taken (:mod:`podwire.ipam.pool`);
* **owner**: what a message calls the holder of an address: ``namespace/pod``, or the attachment's key;
* **held**: an attachment has the address; **quarantined**: the attachment is gone, but its link may still answer;
  **cooling**: freed less than the cool-down ago; **rested**: freed longer ago than that, may be given again;
* **reserved**: never given to a pod: the network address (the node's VTEP), the first host address (the gateway of a
  bridge), the IPv4 broadcast address, and what the configuration reserves;
* **cluster CIDR**: the range that **node CIDRs** are cut from (:mod:`podwire.ipam.node_cidrs`);
* **violation**: a disagreement between allocations, pods, routes and namespaces (:mod:`podwire.ipam.invariants`).

The store that keeps a node's allocations over the agent's death is a protocol here (:mod:`podwire.ipam.store`) and a
file in ``drivers/``. Nothing here talks to the kernel or to Kubernetes.
"""
