"""Datasette's permission checks, in the words of both of its lines, and which tables our own SQL shows rows of."""

import re
from collections.abc import Iterable
from functools import lru_cache

from datasette.utils.asgi import Forbidden

ANNOTATE = "deephys-annotate"  # to write on neurons and images; root may, others when they are allowed to
# What every page shows: names, and the accuracy of each recording.
NAMES = frozenset(("model", "layer", "dataset", "category", "recording", "dataset_accuracy"))
# The views that show what other relations of our SQL hold; those not named here go by their own name, less `stored_`.
SHOWN_BY = {
    "stored_activation": ("activation", "response"),
    "stored_value": ("activation", "response"),
    "stored_neuron": ("neuron_summary",),
    "stored_histogram": ("activation",),
    "stored_example": ("activation",),
    "stored_top_image": ("top_image", "prediction"),
    "strongest_category": ("category_response",),
    "stored_strongest_category": ("strongest_category", "category_response"),
    "scores": ("neuron_score",),
    "score_rows": ("neuron_score",),
    "top_neurons": ("response",),
    "top_neurons_of": ("response",),
    "similar_images": ("response", "prediction"),
    "similar_images_on": ("response", "prediction"),
    "confusion_set": ("prediction",),
}
_READ = re.compile(r"\b(?:from|join)\s+(\w+)")


@lru_cache(maxsize=1024)
def tables_of(sql: str) -> frozenset[str]:
    """Return the tables and views whose rows our own SQL shows, some names of its steps among them.

    >>> sorted(tables_of("select * from stored_image as i join prediction as p on true"))
    ['image', 'prediction', 'stored_image']
    """
    read = set(_READ.findall(sql))
    return frozenset(read).union(*(SHOWN_BY.get(name, (name.removeprefix("stored_"),)) for name in read))


async def may(datasette, request, action: str, database: str) -> bool:
    """Return whether this visitor may do this in a database; nobody may unless it is allowed."""
    if hasattr(datasette, "permission_allowed"):  # Datasette 0.65
        return bool(await datasette.permission_allowed(request.actor, action, resource=database, default=False))
    from datasette.resources import DatabaseResource

    return await datasette.allowed(action=action, resource=DatabaseResource(database=database), actor=request.actor)


async def ensure(datasette, request, action: str, database: str, name: str | None = None) -> None:
    """Raise Datasette's `Forbidden` unless this visitor may do this.

    action: `view-database`, `execute-sql`, `view-table` or `view-query`; the last two with the name of the table or query.
    """
    if hasattr(datasette, "permission_allowed"):  # Datasette 0.65
        checks = [(action, (database, name) if name else database)]
        if action != "view-database":
            checks.append(("view-database", database))
        await datasette.ensure_permissions(request.actor, [*checks, "view-instance"])
        return
    from datasette.resources import DatabaseResource, QueryResource, TableResource

    resource = {
        "view-table": lambda: TableResource(database=database, table=name),
        "view-query": lambda: QueryResource(database=database, query=name),
    }.get(action, lambda: DatabaseResource(database=database))()
    if not await datasette.allowed(action=action, resource=resource, actor=request.actor):
        raise Forbidden(f"You do not have permission for {action} on {name or database}")


class Visitor:
    """Who asks for a page of a database: what the page shows is checked, once.

    What is answered to somebody who is known Datasette marks `cache-control: private, no-store` itself.
    """

    def __init__(self, datasette, actor, database: str):
        self.datasette, self.actor, self.database = datasette, actor, database
        self._seen: dict[str, set[str]] = {"view-table": set(), "view-query": set()}
        self._allowed: dict[str, set[str]] = {}

    async def require(self, action: str, names: Iterable[str]) -> None:
        """Raise Datasette's `Forbidden` unless these tables (`view-table`) or queries (`view-query`) may be seen."""
        new = set(names) - self._seen[action]
        if new and (refused := await self._refused(action, new)):
            raise Forbidden(f"You do not have permission for {action} on {', '.join(sorted(refused))} of {self.database}")
        self._seen[action] |= new

    async def _refused(self, action: str, names: set[str]) -> set[str]:
        if hasattr(self.datasette, "permission_allowed"):  # Datasette 0.65
            ask = self.datasette.permission_allowed
            return {name for name in names if not await ask(self.actor, action, (self.database, name), default=True)}
        if action not in self._allowed:
            await self.datasette.refresh_schemas()  # else its list of tables is empty until one of its own pages was opened
            async with self.datasette._refresh_schemas_lock:  # it does not wait for a refresh that another request began
                pass
            found = await self.datasette.allowed_resources(action, self.actor, parent=self.database, limit=1000)
            self._allowed[action] = {resource.child for resource in found.resources}
        return names - self._allowed[action]
