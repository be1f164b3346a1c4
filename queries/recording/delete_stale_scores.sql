-- Forgets the scores of a model's recordings that are not against its default reference as it is now.
delete from stored_neuron_score
where recording_id in (
        select recording_id
        from stored_named_recording
        where model_id = $model_id
    )
    and (recording_id, reference_recording_id) not in (
        select
            recording_id,
            reference_recording_id
        from stored_named_recording
        where reference_recording_id is not null
    )
