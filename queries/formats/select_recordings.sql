-- The recordings, with the name of the output's layer.
select
    m.name as model,
    d.name as dataset,
    r.* exclude (recording_id, model_id, dataset_id, output_layer_id),
    o.name as output_layer,
    r.recording_id,
    r.model_id
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
left join stored_layer as o on o.layer_id = r.output_layer_id
order by r.recording_id
