"""Schemas: which fields an object may have, what they hold, and how lists in it are merged.

One model (:mod:`.model`) serves built-in kinds, written in a compact notation (:mod:`.notation`; the kinds are in
:mod:`.meta`, :mod:`.core`, :mod:`.pod`, :mod:`.workloads`), and custom kinds, read from a CustomResourceDefinition
(:mod:`.structural`). From it come validation, defaults and pruning (:mod:`.check`), the merge keys of strategic and
server-side apply, and the OpenAPI documents (:mod:`.openapi`).
"""
