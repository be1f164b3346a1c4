-- Takes numbers for the rows of a layer that is about to be recorded; returns the first of them.
insert into stored_piece
select
    $recording_id,
    $layer_id,
    min(number)
from (select nextval('piece_number') as number from range($pieces))
returning first_piece
