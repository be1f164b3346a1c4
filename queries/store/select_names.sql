-- Everything that somebody made in this database.
select table_name
from duckdb_tables()
where not internal
    and database_name = current_database()
union
select view_name
from duckdb_views()
where not internal
    and database_name = current_database()
union
select function_name
from duckdb_functions()
where not internal
    and database_name = current_database()
union
select schema_name
from duckdb_schemas()
where not internal
    and database_name = current_database()
    and schema_name != 'main'
order by 1
