-- Every layer of every recording, in the order that an export writes them.
select
    m.name as model,
    l.name as layer,
    d.name as dataset,
    k.recording_id,
    l.layer_id,
    m.model_id,
    d.dataset_id,
    r.images,
    l.neurons,
    k.checksum
from stored_recorded_layer as k
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id
order by m.model_id, l.position, r.recording_id
