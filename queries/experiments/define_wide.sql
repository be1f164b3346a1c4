-- The statements that define the view experiment_wide on the parameters, metrics and tags that there are now, in the
-- order in which they are run. Of names that differ only in their case, which SQL takes for one column, that of
-- most runs is taken; of more than 500 names of a kind those of most runs.
with name as (
    select
        'param' as kind,
        p.name,
        count(distinct p.run) as runs,
        case
            when count(try_cast(p.value as double)) = count(p.value)
                then 'any_value(try_cast(value as double)) filter (where name = '
            else 'any_value(value) filter (where name = '
        end as aggregate
    from stored_experiment_param as p
    group by p.name
    union all
    select
        'metric',
        x.name,
        count(distinct x.run),
        'max_by(value, (step, coalesce(epoch_us(recorded_at), 0), value)) filter (where name = '
    from stored_experiment_metric as x
    group by x.name
    union all
    select
        'tag',
        t.name,
        count(distinct t.run),
        'any_value(coalesce(value, '''')) filter (where name = '
    from stored_experiment_tag as t
    group by t.name
),
spelling as (
    select *
    from name
    qualify row_number() over (partition by kind, lower(name) order by runs desc, name) = 1
),
chosen as (
    select *
    from spelling
    qualify row_number() over (partition by kind order by runs desc, name) <= 500
),
part as (
    select
        kind,
        name,
        '"' || kind || '_' || replace(name, '"', '""') || '"' as identifier,
        '''' || replace(name, '''', '''''') || '''' as literal,
        aggregate
    from chosen
),
joined as (
    select
        kind,
        string_agg(', ' || identifier, '' order by name) as identifiers,
        'left join (select run' || string_agg(', ' || aggregate || literal || ') as ' || identifier, '' order by name)
            || ' from stored_experiment_' || kind || ' group by run) as ' || kind || '_of on ' || kind || '_of.run = e.run ' as clause
    from part
    group by kind
),
base as (
    select
        column_name,
        comment,
        column_index
    from duckdb_columns()
    where table_name = 'experiment'
        and schema_name = 'main'
        and database_name = current_database()
),
statement as (
    select
        1 as place,
        '' as name,
        'create or replace view experiment_wide as select e.*'
            || coalesce((select string_agg(identifiers, '' order by array_position(['param', 'metric', 'tag'], kind)) from joined), '')
            || ' from experiment as e '
            || coalesce((select string_agg(clause, '' order by kind) from joined), '') as statement
    union all
    select
        2,
        '',
        'comment on view experiment_wide is ''One row a run, a column a parameter (param_), a metric''''s last value (metric_) and a tag (tag_); defined anew by every import.'''
    union all
    select
        3,
        column_name,
        'comment on column experiment_wide.' || column_name || ' is ''' || replace(comment, '''', '''''') || ''''
    from base
    union all
    select
        4,
        identifier,
        'comment on column experiment_wide.' || identifier || ' is '''
            || case kind when 'param' then 'Parameter ' when 'metric' then 'Last value of the metric ' else 'Tag ' end
            || replace(name, '''', '''''') || '.'''
    from part
)
select statement
from statement
order by place, name
