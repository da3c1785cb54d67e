"""The container runtime: one supervisor process for each pod, which outlives the kubelet that started it.

``supervisor`` holds the pod's namespaces, starts containers in them, writes their logs and remembers how they ended;
``container`` is what a forked child does between fork and exec; ``syscalls`` are the system calls that Python lacks.
These three import the standard library alone, and little of it (a test measures that): the supervisor starts as
``python -I -S``. ``client`` is the kubelet's side of the conversation (asyncio), ``messages`` its words.

Everything dies with its parent: a container's first process with the supervisor (PR_SET_PDEATHSIG), the rest of the
container with its first process (pid namespace), the supervisor with the node's init. Mounts live in namespaces of the
containers' own, so there is nothing to clean up after a kill -9.
"""
