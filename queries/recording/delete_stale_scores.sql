-- Forgets the scores of a model's recordings that are not against its default reference as it is now: another one, or one that got
-- the layer since.
delete from stored_neuron_score
where recording_id in (
        select recording_id
        from stored_named_recording
        where model_id = $model_id
    )
    and (
        (recording_id, reference_recording_id) not in (
            select
                recording_id,
                reference_recording_id
            from stored_named_recording
            where reference_recording_id is not null
        )
        or (
            reason = 'not_in_reference'
            and (reference_recording_id, layer_id) in (
                select
                    recording_id,
                    layer_id
                from stored_recorded_layer
            )
        )
    )
