-- title: Names beside ids
-- What every view joins to have names: one table a recording and one a recorded layer, instead of five tables, since a
-- question about one neuron takes as long to plan as to run. Both are derived; queries/recording/name_recordings.sql fills them.

create table stored_named_recording (
    recording_id integer not null,
    model_id integer not null,
    dataset_id integer not null,
    category_list_id integer not null,
    reference_recording_id integer,
    model_name varchar not null,
    dataset_name varchar not null
);
comment on table stored_named_recording is 'One row a recording: its names and ids.';
comment on column stored_named_recording.recording_id is 'Id of the recording.';
comment on column stored_named_recording.model_id is 'Id of the model.';
comment on column stored_named_recording.dataset_id is 'Id of the dataset.';
comment on column stored_named_recording.category_list_id is 'Id of the list of categories.';
comment on column stored_named_recording.reference_recording_id is 'Id of the recording of the model''s default reference; NULL when that is not recorded.';
comment on column stored_named_recording.model_name is 'Name of the model.';
comment on column stored_named_recording.dataset_name is 'Name of the dataset.';

create table stored_named_layer (
    recording_id integer not null,
    layer_id integer not null,
    dataset_id integer not null,
    category_list_id integer not null,
    reference_recording_id integer,
    neurons integer not null,
    model_name varchar not null,
    layer_name varchar not null,
    dataset_name varchar not null
);
comment on table stored_named_layer is 'One row a layer of a recording: its names and ids.';
comment on column stored_named_layer.recording_id is 'Id of the recording.';
comment on column stored_named_layer.layer_id is 'Id of the layer.';
comment on column stored_named_layer.dataset_id is 'Id of the dataset.';
comment on column stored_named_layer.category_list_id is 'Id of the list of categories.';
comment on column stored_named_layer.reference_recording_id is 'Id of the recording of the model''s default reference; NULL when that is not recorded.';
comment on column stored_named_layer.neurons is 'Number of neurons of the layer.';
comment on column stored_named_layer.model_name is 'Name of the model.';
comment on column stored_named_layer.layer_name is 'Name of the layer.';
comment on column stored_named_layer.dataset_name is 'Name of the dataset.';

insert into stored_named_recording
select
    r.recording_id,
    r.model_id,
    r.dataset_id,
    m.category_list_id,
    q.recording_id,
    m.name,
    d.name
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
left join stored_recording as q
    on q.model_id = r.model_id
    and q.dataset_id = m.reference_dataset_id;

insert into stored_named_layer
select
    n.recording_id,
    k.layer_id,
    n.dataset_id,
    n.category_list_id,
    n.reference_recording_id,
    l.neurons,
    n.model_name,
    l.name,
    n.dataset_name
from stored_named_recording as n
join stored_recorded_layer as k using (recording_id)
join stored_layer as l using (layer_id);
