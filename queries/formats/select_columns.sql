-- The columns of every table of the store.
select
    table_name,
    list(column_name order by column_index)
from duckdb_columns()
where database_name = current_database()
    and schema_name = 'main'
    and table_name like 'stored\_%' escape '\'
    and table_name in (select table_name from duckdb_tables())
group by table_name
order by table_name
