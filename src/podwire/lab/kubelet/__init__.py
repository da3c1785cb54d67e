"""The lab's kubelet: makes the pods that the API server binds to its node into processes.

One process for each node, ``python -m podwire.lab.kubelet --config FILE``, inside the node's network, mount and pid
namespaces. It registers the Node, renews its Lease, watches the pods bound to it, and for each of them makes a
network namespace, calls the CNI plugins as libcni does, starts the containers, probes them, reports the status, and
takes all of it down again in the opposite order.

Words: a *sandbox* is what a pod's containers share (network, IPC and UTS namespace, and the *supervisor* process that
holds them); a *container* is a process tree in that sandbox with a mount and a pid namespace of its own; a *worker* is
the task that drives one pod towards its spec; the *chain* is the list of CNI plugins of a network configuration.

It does not pull images (``lab/images.py`` says what an image name means here), meter resources, or speak CRI; what a
pod asks for beyond that is refused in its status, never ignored in silence. This package's ``__init__`` and
``runtime`` must stay free of imports that cost time: every pod's supervisor loads them.
"""
