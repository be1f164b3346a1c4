-- What is known from elsewhere: runs of experiments with their parameters, metrics and tags, and what people say of
-- neurons and images.
--
-- A run is told from others by its text `run`; importing it again replaces its rows, so that there is no primary key
-- (DuckDB refuses to delete and insert the same key in one transaction).

create table stored_experiment (
    run varchar not null,
    name varchar,
    study varchar,
    status varchar,
    started timestamp,
    ended timestamp,
    model_name varchar,
    checkpoint varchar,
    weights_checksum varchar,
    source varchar not null,
    imported_at timestamp not null
);
comment on table stored_experiment is 'One row a run: one training or evaluation that somebody tracked.';
comment on column stored_experiment.run is 'Id of the run in its source, such as MLflow''s; unique in the store.';
comment on column stored_experiment.name is 'Name of the run.';
comment on column stored_experiment.study is 'What the run is one of: MLflow''s experiment, a project, a sweep.';
comment on column stored_experiment.status is 'As the source says it, such as FINISHED.';
comment on column stored_experiment.started is 'When, in UTC.';
comment on column stored_experiment.ended is 'When, in UTC.';
comment on column stored_experiment.model_name is 'The model that the source names.';
comment on column stored_experiment.checkpoint is 'The path or checksum of the weights that the source names.';
comment on column stored_experiment.weights_checksum is 'SHA-256 of the weights, as stored_recording has it; NULL when they could not be read.';
comment on column stored_experiment.source is 'Where the run was imported from, without a password.';
comment on column stored_experiment.imported_at is 'When it was imported last, in UTC.';

create table stored_experiment_param (
    run varchar not null,
    name varchar not null,
    value varchar
);
comment on table stored_experiment_param is 'What a run was started with.';
comment on column stored_experiment_param.run is 'Id of the run.';
comment on column stored_experiment_param.name is 'Name of the parameter; levels are joined by dots.';
comment on column stored_experiment_param.value is 'Its value as text.';

create table stored_experiment_metric (
    run varchar not null,
    name varchar not null,
    step bigint not null,
    recorded_at timestamp,
    value double not null
);
comment on table stored_experiment_metric is 'What a run measured, step by step.';
comment on column stored_experiment_metric.run is 'Id of the run.';
comment on column stored_experiment_metric.name is 'Name of the metric.';
comment on column stored_experiment_metric.step is 'Step, such as the epoch; 0 where the source has none.';
comment on column stored_experiment_metric.recorded_at is 'When, in UTC; NULL where the source does not say.';
comment on column stored_experiment_metric.value is 'The number; NaN and infinities as they were logged.';

create table stored_experiment_tag (
    run varchar not null,
    name varchar not null,
    value varchar
);
comment on table stored_experiment_tag is 'What was noted on a run.';
comment on column stored_experiment_tag.run is 'Id of the run.';
comment on column stored_experiment_tag.name is 'Name of the tag.';
comment on column stored_experiment_tag.value is 'Its value as text; NULL for a tag that is only there.';

-- Annotations are written into a file of their own beside the store; here are those that were embedded. They speak in names,
-- so that they hold when a model or dataset is recorded again.

create table stored_annotation (
    annotation varchar not null,
    subject varchar not null,
    model varchar,
    layer varchar,
    neuron integer,
    dataset varchar,
    image_set varchar,
    images integer[],
    judgement varchar,
    note varchar,
    tags varchar[] not null,
    author varchar not null,
    written_at timestamp not null,
    withdrawn boolean not null
);
comment on table stored_annotation is 'What people said, every entry that was ever written; a later one of the same author on the same subject replaces an earlier one.';
comment on column stored_annotation.annotation is 'Id of the entry, a UUID.';
comment on column stored_annotation.subject is 'What it is on: neuron, image, or images for a set of them.';
comment on column stored_annotation.model is 'Name of the model, of a neuron.';
comment on column stored_annotation.layer is 'Name of the layer, of a neuron.';
comment on column stored_annotation.neuron is 'Number of the neuron, from 0.';
comment on column stored_annotation.dataset is 'Name of the dataset, of images.';
comment on column stored_annotation.image_set is 'What the set of images is called.';
comment on column stored_annotation.images is 'Numbers of the images, ascending: one, or those of the set.';
comment on column stored_annotation.judgement is 'core, spurious, unclear, or a word of the author''s own.';
comment on column stored_annotation.note is 'Free text.';
comment on column stored_annotation.tags is 'Words to find it by.';
comment on column stored_annotation.author is 'Who wrote it.';
comment on column stored_annotation.written_at is 'When, in UTC.';
comment on column stored_annotation.withdrawn is 'Whether the author took back what he had said.';
