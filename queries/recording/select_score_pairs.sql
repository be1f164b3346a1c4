-- The recordings of a model, each with that of the default reference; not the reference with itself.
select
    r.recording_id,
    q.recording_id
from stored_recording as r
join stored_model as m using (model_id)
join stored_recording as q
    on q.model_id = m.model_id
    and q.dataset_id = m.reference_dataset_id
where r.model_id = $model_id
    and r.recording_id != q.recording_id
order by r.recording_id
