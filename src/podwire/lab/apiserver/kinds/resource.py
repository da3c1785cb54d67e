"""A resource: one served REST collection, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from podwire.lab.apiserver.kinds.columns import NAME_AND_AGE, Columns
from podwire.lab.apiserver.kinds.strategy import Object, Strategy
from podwire.lab.apiserver.schema.model import Schema

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Conversion:
    """How objects of this version differ from the stored ones."""

    incoming: Callable[[Object], Object]
    outgoing: Callable[[Object], Object]


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a kind keeps what ``/scale`` shows, as dotted paths."""

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str = "spec.selector"


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of the table of kinds.

    *key* is where its objects are stored; versions of one resource share it. *custom* is true for kinds from a
    definition.
    """

    group: str
    version: str
    kind: str
    plural: str
    schema: Schema
    strategy: Strategy
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    scale: ScalePaths | None = None
    subresources: tuple[str, ...] = ()
    columns: Columns = NAME_AND_AGE
    conversion: Conversion | None = None
    custom: bool = False
    key: str = ""
    singular: str = ""
    list_kind: str = ""

    @property
    def api_version(self) -> str:
        """``group/version``, or ``version`` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural as error messages name it: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage(self) -> str:
        """The first part of the key of its objects."""
        return self.key or f"{self.group}/{self.plural}"

    @property
    def lists(self) -> str:
        """The kind of a list of these."""
        return self.list_kind or f"{self.kind}List"

    @property
    def all_subresources(self) -> tuple[str, ...]:
        """Every subresource, status and scale included."""
        generic = (("status",) if self.status else ()) + (("scale",) if self.scale else ())
        return generic + self.subresources


class Registry:
    """All resources that are served now."""

    def __init__(self, builtin: Iterable[Resource]) -> None:
        self._builtin = tuple(builtin)
        self._custom: dict[str, tuple[Resource, ...]] = {}
        self.generation = 0
        """Counts the changes of what is served; part of the OpenAPI documents' names."""
        self._index: dict[tuple[str, str, str], Resource] = {}
        self._by_storage: dict[str, Resource] = {}
        self._reindex()

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._index.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path, or None."""
        return self._index.get((group, version, plural))

    def stored_at(self, storage: str) -> Resource | None:
        """The resource whose objects are kept under *storage*, in the version in which they are kept."""
        return self._by_storage.get(storage)

    def of_kind(self, group: str, kind: str) -> Resource | None:
        """A resource by its kind, whatever the version."""
        return next((found for found in self if found.group == group and found.kind == kind), None)

    def versions(self) -> dict[str, list[str]]:
        """The groups beside the core one, each with its versions in order of preference."""
        groups: dict[str, list[str]] = {}
        for resource in self:
            versions = groups.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        groups.pop("", None)
        return groups

    def set_custom(self, definition: str, resources: tuple[Resource, ...]) -> None:
        """Serve the resources of a definition (none: no longer)."""
        if resources:
            self._custom[definition] = resources
        else:
            self._custom.pop(definition, None)
        self.generation += 1
        self._reindex()

    def custom(self, definition: str) -> tuple[Resource, ...]:
        """The resources that a definition gave."""
        return self._custom.get(definition, ())

    def _reindex(self) -> None:
        every = (*self._builtin, *(resource for group in self._custom.values() for resource in group))
        self._index = {(resource.group, resource.version, resource.plural): resource for resource in every}
        self._by_storage = {resource.storage: resource for resource in every if resource.conversion is None}
