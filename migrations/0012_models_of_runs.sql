-- title: Models of runs
-- Which model each run belongs to is looked up when runs or recordings are written, not by every question about runs.

create table stored_named_run (
    run varchar not null,
    model_name varchar not null,
    matched_by varchar not null
);
comment on table stored_named_run is 'One row a run that belongs to a model of this store.';
comment on column stored_named_run.run is 'Id of the run.';
comment on column stored_named_run.model_name is 'Name of the model.';
comment on column stored_named_run.matched_by is 'Why this model, as in the view experiment.';
