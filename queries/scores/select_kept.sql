-- The scores of a layer that are kept.
select
    l.name as layer,
    s.neuron,
    s.activation_ratio,
    s.response_loss,
    s.novelty,
    s.spurious,
    s.reason,
    s.fewest_images
from stored_neuron_score as s
join stored_layer as l using (layer_id)
where s.recording_id = $recording_id
    and s.reference_recording_id = $reference_recording_id
    and s.layer_id = $layer_id
order by s.neuron
