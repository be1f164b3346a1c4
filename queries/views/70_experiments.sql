-- title: Runs of experiments
-- Runs with their parameters, metrics and tags, each beside the model of this store that it made or tested.
-- The view experiment_wide, a column a parameter, metric and tag, is defined by queries/experiments/define_wide.sql.

-- What a run says of its model, and the place of each in the order in which they count: 1 the model's name, 2 its weights, 3 the
-- checkpoint's path or file, 4 the run's name, 5 its id. The table stored_named_run keeps it.
create view stored_matched_run as
with named as (
    select
        e.run,
        unnest([
            e.model_name,
            e.checkpoint,
            parse_filename(e.checkpoint, false, 'both_slash'),
            parse_filename(e.checkpoint, true, 'both_slash'),
            e.name,
            e.run
        ]) as model,
        unnest([1, 3, 3, 3, 4, 5]) as place
    from stored_experiment as e
),
candidate as (
    select
        c.run,
        m.name as model,
        c.place
    from named as c
    join stored_model as m on m.name = c.model
    union all
    select
        e.run,
        m.name,
        2
    from stored_experiment as e
    join stored_recording as r on r.weights_checksum = e.weights_checksum
    join stored_model as m on m.model_id = r.model_id
)
select
    c.run,
    min_by(c.model, (c.place, c.model)) as model,
    ['model', 'weights', 'checkpoint', 'name', 'run'][min(c.place)] as matched_by
from candidate as c
group by c.run;
comment on view stored_matched_run is 'One row a run that belongs to a model of this store, looked up in what there is now.';
comment on column stored_matched_run.run is 'Id of the run.';
comment on column stored_matched_run.model is 'Name of the model.';
comment on column stored_matched_run.matched_by is 'Why this model, as in the view experiment.';

create view experiment as
select
    e.run,
    n.model_name as model,
    e.name,
    e.study,
    e.status,
    e.started,
    e.ended,
    n.matched_by,
    e.checkpoint,
    e.source,
    e.imported_at
from stored_experiment as e
left join stored_named_run as n using (run);
comment on view experiment is 'One row a run: one training or evaluation that somebody tracked, and the model of this store that it belongs to.';
comment on column experiment.run is 'Id of the run; unique in the store.';
comment on column experiment.model is 'Name of the model of this store; NULL when none matches.';
comment on column experiment.name is 'Name of the run.';
comment on column experiment.study is 'What the run is one of: MLflow''s experiment, a project, a sweep.';
comment on column experiment.status is 'As the source says it, such as FINISHED.';
comment on column experiment.started is 'When, in UTC.';
comment on column experiment.ended is 'When, in UTC.';
comment on column experiment.matched_by is 'Why this model: the source names the model, its weights are those recorded, the checkpoint''s file is called so, or the run''s name or id is the model''s. The first of these that holds.';
comment on column experiment.checkpoint is 'The path or checksum of the weights that the source names.';
comment on column experiment.source is 'Where the run was imported from, without a password.';
comment on column experiment.imported_at is 'When it was imported last, in UTC.';

create view experiment_param as
select
    p.run,
    n.model_name as model,
    p.name,
    p.value,
    try_cast(p.value as double) as number
from stored_experiment_param as p
left join stored_named_run as n using (run);
comment on view experiment_param is 'What each run was started with, such as its learning rate.';
comment on column experiment_param.run is 'Id of the run.';
comment on column experiment_param.model is 'Name of the model that the run belongs to.';
comment on column experiment_param.name is 'Name of the parameter; levels are joined by dots.';
comment on column experiment_param.value is 'Its value as text.';
comment on column experiment_param.number is 'Its value as a number; NULL when it is none.';

create view experiment_metric as
select
    x.run,
    n.model_name as model,
    x.name,
    x.step,
    x.recorded_at,
    x.value
from stored_experiment_metric as x
left join stored_named_run as n using (run);
comment on view experiment_metric is 'What each run measured, step by step.';
comment on column experiment_metric.run is 'Id of the run.';
comment on column experiment_metric.model is 'Name of the model that the run belongs to.';
comment on column experiment_metric.name is 'Name of the metric.';
comment on column experiment_metric.step is 'Step, such as the epoch; 0 where the source has none.';
comment on column experiment_metric.recorded_at is 'When, in UTC; NULL where the source does not say.';
comment on column experiment_metric.value is 'The number.';

create view experiment_tag as
select
    t.run,
    n.model_name as model,
    t.name,
    t.value
from stored_experiment_tag as t
left join stored_named_run as n using (run);
comment on view experiment_tag is 'What was noted on each run.';
comment on column experiment_tag.run is 'Id of the run.';
comment on column experiment_tag.model is 'Name of the model that the run belongs to.';
comment on column experiment_tag.name is 'Name of the tag.';
comment on column experiment_tag.value is 'Its value as text; NULL for a tag that is only there.';
