"""Clusters made of network namespaces on one machine, with no VM and no container engine.

The words:

* **lab**: one cluster, with a name and a state directory (:mod:`podwire.lab.state`);
* **fabric**: the network between the nodes, in namespaces of its own: a **switch** per **segment** (subnet), a
  **router** between the segments, the **control plane**'s host, and **the world**, a host outside of the cluster;
* **underlay**: the addresses of the fabric, 10.89.SEGMENT.0/24 unless told otherwise;
* **port**: a switch's end of a node's cable; to **cut** a node is to take its port down;
* **sandbox**: the namespaces that one host of the lab lives in, and the **init** that is its first process
  (:mod:`podwire.lab.sandbox`); a **node** is a sandbox that runs the real agent and a small kubelet.

The machine's own network namespace is never touched: the only trace of a lab in it is a listening socket on 127.0.0.1
for kubectl. This package runs podwire's own programs and no packet passes through it: the kernel is the fabric.

Import nothing here: a sandbox's init must start quickly.
"""
