-- Where the activations of a recorded layer lie.
select first_piece
from stored_piece
where recording_id = $recording_id
    and layer_id = $layer_id
