-- The recordings that hold a layer.
select
    r.recording_id,
    r.images
from stored_recorded_layer as k
join stored_recording as r using (recording_id)
where k.layer_id = $layer_id
order by r.recording_id
