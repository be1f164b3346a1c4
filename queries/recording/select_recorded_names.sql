-- The names of the layers that a recording has.
select l.name
from stored_recorded_layer as k
join stored_layer as l using (layer_id)
where k.recording_id = $recording_id
order by l.position
