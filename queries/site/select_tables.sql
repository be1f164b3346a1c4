-- The tables and views: name, whether it is a view, the statement that defines it, and its comment.
select
    table_name,
    false,
    sql,
    comment
from duckdb_tables()
where database_name = current_database()
union all
select
    view_name,
    true,
    sql,
    comment
from duckdb_views()
where database_name = current_database()
    and not internal
order by 1
