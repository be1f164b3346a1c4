-- Derives anew the tables of names, and where each neuron lies with what its responses are divided by.
delete from stored_named_recording;
delete from stored_named_layer;
delete from stored_neuron;

insert into stored_named_recording by name
select
    r.recording_id,
    r.model_id,
    r.dataset_id,
    m.category_list_id,
    q.recording_id as reference_recording_id,
    m.name as model_name,
    d.name as dataset_name
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
left join stored_recording as q
    on q.model_id = r.model_id
    and q.dataset_id = m.reference_dataset_id;

insert into stored_named_layer by name
select
    n.recording_id,
    k.layer_id,
    n.dataset_id,
    n.category_list_id,
    n.reference_recording_id,
    l.neurons,
    n.model_name,
    l.name as layer_name,
    n.dataset_name
from stored_named_recording as n
join stored_recorded_layer as k using (recording_id)
join stored_layer as l using (layer_id);

insert into stored_neuron by name
select
    s.recording_id,
    s.layer_id,
    s.neuron,
    p.first_piece + s.neuron // 64 as piece,
    s.neuron % 64 + 1 as element,
    x.max as reference_max
from stored_neuron_summary as s
join stored_piece as p using (recording_id, layer_id)
join stored_named_layer as n using (recording_id, layer_id)
left join stored_neuron_summary as x
    on x.recording_id = n.reference_recording_id
    and x.layer_id = s.layer_id
    and x.neuron = s.neuron
order by s.recording_id, s.layer_id, s.neuron;
