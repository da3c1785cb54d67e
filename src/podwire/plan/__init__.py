"""Planning: what should be on a node, from what the cluster is. Pure.

* :mod:`podwire.plan.wiring`: both ends of one pod's veth pair;
* :mod:`podwire.plan.mtu`: how large a pod's packet may be;
* :mod:`podwire.plan.routes`: one routing backend per file.
"""
