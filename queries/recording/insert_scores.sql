-- Keeps the scores of one recording against another.
insert into stored_neuron_score
select
    $recording,
    $reference,
    s.layer_id,
    s.neuron,
    s.activation_ratio,
    s.response_loss,
    s.novelty,
    s.spurious,
    s.reason,
    s.fewest_images
from score_rows($recording, $reference) as s
