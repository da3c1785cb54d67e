"""The lab's manager: scheduler and workload controllers in one process, ``python -m podwire.lab.manager --kubeconfig FILE``.

It does what kube-scheduler and kube-controller-manager do for the kinds that a lab needs: binds pods to nodes, keeps
ReplicaSets, Deployments and DaemonSets at what they ask for, gives each namespace its ServiceAccount, notices nodes
that went silent, evicts their pods and collects what is left of removed nodes.

Words: an **informer** is a copy of one resource, kept current by a reflector; a **queue** holds the keys of objects to
look at again; a **controller** takes keys from its queue and brings the object's world to what its spec says, from the
informers alone. Judgement is pure and apart from it: :mod:`.scheduling`, :mod:`.rollout`, :mod:`.daemons`,
:mod:`.taints`.

What it does not do: pod affinity, topology spread constraints, preemption, resource requests, priorities, adoption of
orphans, Jobs, StatefulSets. There is one manager to a lab, so it elects no leader.
"""
