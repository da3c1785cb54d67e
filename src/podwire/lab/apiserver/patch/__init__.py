"""Patches: the four ways in which a client changes part of an object.

JSON patch (:mod:`.json_patch`, RFC 6902), JSON merge patch (:mod:`.merge`, RFC 7396), strategic merge patch
(:mod:`.strategic`, built-in kinds alone) and server-side apply (:mod:`.apply`). All are pure: document and patch in,
new document out; the caller validates the result as it validates any object.
"""

from __future__ import annotations

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
APPLY_PATCH_CBOR = "application/apply-patch+cbor"

MEDIA_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
