-- The columns of tables and views, in their order.
select
    table_name,
    column_name,
    data_type,
    comment
from duckdb_columns()
where database_name = current_database()
    and schema_name = 'main'
order by table_name, column_index
