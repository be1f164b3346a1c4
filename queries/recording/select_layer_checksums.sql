-- The checksums of the layers of a recording, in the order of their names.
select
    l.name,
    k.checksum
from stored_recorded_layer as k
join stored_layer as l using (layer_id)
where k.recording_id = $recording_id
order by l.name
