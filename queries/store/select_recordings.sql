-- Every recording with the checksum that it should have.
select
    r.recording_id,
    m.name || ' on ' || d.name,
    r.checksum
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
order by r.recording_id
