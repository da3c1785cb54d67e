"""The agent of one node: builds the parts, runs the loop, serves CNI, health, metrics and control.

The words: the **dataplane** is the loop that keeps the kernel as the plan says; **ready** means that the node's own pod
CIDRs are known and the plan has been carried out once, so that a new pod would really be connected; a **heal** is a change
that a resync had to make although nobody asked for one: somebody else had changed what is ours.

The agent holds no truth of its own: what it knows comes from the Kubernetes API, the node's journal and the kernel, and
any instruction may be its last. It decides nothing about addresses (``ipam``), wiring or routes (``plan``).
"""
