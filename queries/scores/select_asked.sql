-- The ids of a recorded layer, of its recording and of that of a reference, by names; NULL takes the model's default reference.
select
    n.layer_id,
    n.recording_id,
    case when $reference is null then n.reference_recording_id else q.recording_id end as reference_recording_id
from stored_named_layer as n
left join stored_named_recording as q
    on q.model_name = n.model_name
    and q.dataset_name = $reference
where n.model_name = $model
    and n.layer_name = $layer
    and n.dataset_name = $dataset
