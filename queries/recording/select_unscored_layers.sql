-- The layers of a model's recordings whose scores against its default reference are not kept yet; not the reference with itself.
select
    n.layer_id,
    n.recording_id,
    n.reference_recording_id
from stored_named_layer as n
join stored_named_recording as r using (recording_id)
where r.model_id = $model_id
    and n.recording_id != n.reference_recording_id
    and (n.recording_id, n.layer_id) not in (
        select
            s.recording_id,
            s.layer_id
        from stored_neuron_score as s
    )
order by n.recording_id, n.layer_id
