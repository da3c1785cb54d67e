"""The cluster's singletons, which one elected process runs: so far, the assignment of node CIDRs.

The words:

* **leader**: the controller that holds the Lease; the others wait (:mod:`podwire.controller.election`);
* **claim**: an annotation on a Node that says which CIDRs it is about to get; visible to every controller before the
  CIDRs are, which is what makes a double assignment impossible (:mod:`podwire.controller.decision` has the proof);
* **assignment**: the Node's ``spec.podCIDRs``, which the API server lets nobody change again;
* **foreign allocator**: somebody else who assigns node CIDRs, such as kube-controller-manager with
  ``--allocate-node-cidrs``; podwire then stands back.

The controller holds no state: every pass begins with a list of the Nodes. It does nothing on any node.
"""
