-- What a layer of a recording is called in messages.
select m.name || ' on ' || d.name || ', layer ' || l.name
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
join stored_layer as l on l.layer_id = $layer_id
where r.recording_id = $recording_id
