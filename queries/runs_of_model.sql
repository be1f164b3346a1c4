-- title: Runs of a model
-- The tracked runs that a model belongs to, each with its parameters, tags and the last value of its metrics, one a row.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- column run: id of the run
-- column name: name of the run
-- column study: what the run is one of
-- column status: as its source says it
-- column started: when, in UTC
-- column ended: when, in UTC
-- column matched_by: why it is this model's
-- column kind: param, metric or tag; NULL for a run without any
-- column key: name of the parameter, metric or tag
-- column value: its value as text; the last one of a metric
-- column steps: how many values the metric has; NULL for others
with item as (
    select
        p.run,
        'param' as kind,
        p.name as key,
        p.value,
        cast(null as bigint) as steps
    from stored_experiment_param as p
    union all
    select
        x.run,
        'metric',
        x.name,
        cast(max_by(x.value, (x.step, coalesce(epoch_us(x.recorded_at), 0), x.value)) as varchar),
        count(*)
    from stored_experiment_metric as x
    group by x.run, x.name
    union all
    select
        t.run,
        'tag',
        t.name,
        t.value,
        null
    from stored_experiment_tag as t
)
select
    e.run,
    e.name,
    e.study,
    e.status,
    e.started,
    e.ended,
    e.matched_by,
    i.kind,
    i.key,
    i.value,
    i.steps
from experiment as e
left join item as i on i.run = e.run
where e.model = $model
order by e.started desc nulls last, e.run, array_position(['param', 'metric', 'tag'], i.kind), i.key
