"""Datasette's permission checks, in the words of both of its lines."""

from datasette.utils.asgi import Forbidden


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
