-- Recorded layers without histograms, examples or norms: written, or exported and now imported, before these were kept.
select
    k.recording_id,
    k.layer_id,
    l.neurons,
    r.images
from stored_recorded_layer as k
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
where (k.recording_id, k.layer_id) not in (select (recording_id, layer_id) from stored_histogram)
    or (k.recording_id, k.layer_id) not in (select (recording_id, layer_id) from stored_image_norm)
order by k.recording_id, k.layer_id
