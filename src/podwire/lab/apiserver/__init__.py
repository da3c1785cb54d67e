"""The lab's API server: the Kubernetes REST protocol over SQLite, for the kinds that a network needs.

It is small, and honest: what it answers, it answers as Kubernetes does (optimistic concurrency, watches that resume,
structural validation, ``metav1.Status`` errors), so that agents, controllers and ``kubectl`` use it as they use the
real one; what it does not do, it refuses by name.

The words:

* **resource**: a served REST collection such as ``pods``, with its kind, schema and behaviour (:mod:`.kinds`);
* **schema**: which fields an object may have and what they hold; one model for built-in and custom kinds
  (:mod:`.schema`);
* **strategy**: the little that differs from kind to kind: defaults, validation, what status is
  (:mod:`.kinds.strategy`);
* **record**: an object as stored: its JSON, its version, and its **facts**, by which selectors choose
  (:mod:`.storage`);
* **event log**: the bounded list of the last changes, from which a watch resumes (:mod:`.storage.store`).

What it does not do: no etcd, no replicas, no conversion webhooks, no admission webhooks, no protobuf, no aggregation.
Who may do what is a short table in :mod:`.authorize`, not RBAC objects. Pods are run by the lab's kubelet, and
Deployments rolled out by its manager.
"""
