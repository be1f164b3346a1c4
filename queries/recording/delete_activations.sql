-- Removes the activations of a recording, while it is known where they lie.
delete from stored_activation
where piece in (
    select unnest(range(p.first_piece, p.first_piece + 1 + (l.neurons - 1) // 64))
    from stored_piece as p
    join stored_layer as l using (layer_id)
    where p.recording_id = $recording_id
)
