-- The columns of each primary key.
select
    table_name,
    constraint_column_names
from duckdb_constraints()
where database_name = current_database()
    and constraint_type = 'PRIMARY KEY'
