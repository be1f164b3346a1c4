-- title: What responses are divided by
-- One row a neuron of a recording, so that views join it as they join names, with an inner join on ids alone: an outer join
-- to the summary of the reference, or a cross join with the places in a row of 16 neurons, keeps the planner from choosing
-- images first. Derived; queries/recording/derive.sql fills it.

create table stored_reference_maximum (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    piece integer not null,
    element integer not null,
    reference_max float
);
comment on table stored_reference_maximum is 'Where each neuron of a recording lies, and its largest activation in the default reference.';
comment on column stored_reference_maximum.recording_id is 'Id of the recording whose responses are divided by it.';
comment on column stored_reference_maximum.layer_id is 'Id of the layer.';
comment on column stored_reference_maximum.neuron is 'Number of the neuron, from 0.';
comment on column stored_reference_maximum.piece is 'The row of stored_image_activation that holds the neuron.';
comment on column stored_reference_maximum.element is 'Its place there, from 1.';
comment on column stored_reference_maximum.reference_max is 'Largest activation in the default reference; NULL when that was recorded without the layer.';

insert into stored_reference_maximum
select
    s.recording_id,
    s.layer_id,
    s.neuron,
    s.neuron // 16,
    s.neuron % 16 + 1,
    x.max
from stored_neuron_summary as s
join stored_named_layer as n using (recording_id, layer_id)
left join stored_neuron_summary as x
    on x.recording_id = n.reference_recording_id
    and x.layer_id = s.layer_id
    and x.neuron = s.neuron
order by s.recording_id, s.layer_id, s.neuron;
