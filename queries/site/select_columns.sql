-- The columns of tables and views, in their order.
-- An array of a fixed size is compared and faceted as a list is.
select
    table_name,
    column_name,
    regexp_replace(data_type, '\[\d+\]', '[]') as data_type,
    comment
from duckdb_columns()
where database_name = current_database()
    and schema_name = 'main'
order by table_name, column_index
