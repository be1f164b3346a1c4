-- Every recording with the checksum that it should have, and the checksums of its layers in the order of their names.
select
    r.recording_id,
    m.name || ' on ' || d.name,
    r.checksum,
    (
        select list(l.name || ' ' || k.checksum order by l.name)
        from stored_recorded_layer as k
        join stored_layer as l using (layer_id)
        where k.recording_id = r.recording_id
    )
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
order by r.recording_id
