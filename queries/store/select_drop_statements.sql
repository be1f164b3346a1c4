-- The statements that drop each view and macro of the store.
select 'drop view if exists "' || view_name || '"'
from duckdb_views()
where not internal
    and database_name = current_database()
    and schema_name = 'main'
union all
select distinct
    case function_type
        when 'table_macro' then 'drop macro table if exists "'
        else 'drop macro if exists "'
    end || function_name || '"'
from duckdb_functions()
where not internal
    and database_name = current_database()
    and schema_name = 'main'
    and function_type in ('macro', 'table_macro')
