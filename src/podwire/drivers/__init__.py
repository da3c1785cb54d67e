"""What touches the world: rtnetlink, namespaces, nftables, sysctls, conntrack, packet capture, the store.

The words:

* a **driver** makes and lists kernel objects, as the values of :mod:`podwire.model.kernel`; it does no thinking;
* **observe** tells what is there of what is ours; **apply** carries out a delta;
* the **home** namespace of a driver is that of the thread that makes it, whichever threads call it later;
* a **fake** (:mod:`podwire.drivers.fake`) stands beside the real drivers and checks references as the kernel does.

Everything here blocks; the agent calls it in threads. What should be is ``plan``'s business, and what differs
``reconcile``'s. Files: ``wirer`` (a pod's veth pair; with ``inspection`` and ``reaper``), ``kernel`` (all other kinds,
one module each), ``underlay`` (the node's own network, and a monitor of changes), ``conntrack`` and ``capture``
(evidence for ``verify``), ``netlink`` (bytes and sockets), ``netns``.
"""
