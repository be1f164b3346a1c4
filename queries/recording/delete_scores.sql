-- Forgets the kept scores of a model.
delete from stored_neuron_score
where recording_id in (
    select recording_id
    from stored_recording
    where model_id = $model_id
)
