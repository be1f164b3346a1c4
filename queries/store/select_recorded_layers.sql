-- Every layer of every recording, with the size and checksum that it should have.
select
    r.recording_id,
    l.layer_id,
    m.name || ' on ' || d.name || ', layer ' || l.name,
    r.images,
    l.neurons,
    k.checksum
from stored_recorded_layer as k
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id
order by r.recording_id, l.layer_id
