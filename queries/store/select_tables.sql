-- The tables of the store, as they are named in a statement.
select format('"{}"', table_name)
from duckdb_tables()
where database_name = current_database()
    and schema_name = 'main'
    and not temporary
    and table_name like 'stored\_%' escape '\'
order by table_name
