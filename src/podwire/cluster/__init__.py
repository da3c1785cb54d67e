"""The Kubernetes REST client: list and watch into values, our few writes, exec, kubeconfig, manifests.

The words: a **resource** is a group, version and plural (:class:`Resource`); a **reflector** lists a resource once and then
follows its changes for ever, whatever breaks in between (:mod:`podwire.cluster.watch`); an **object** is a decoded JSON
object, either a plain ``dict`` or a msgspec Struct that names just the fields used.

Only what podwire uses is here; it is no general client, has no caches beyond a reflector's own, and knows no kind by heart
except Nodes and Pods (:mod:`podwire.cluster.objects`).
"""
