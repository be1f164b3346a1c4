-- Puts scores that were computed already in place of those that the macro would compute, on one connection.
create temp macro score_rows(recording, reference) as table
select
    s.layer_id,
    s.neuron,
    s.activation_ratio,
    s.response_loss,
    s.novelty,
    s.spurious,
    s.reason,
    s.fewest_images
from temp.computed_score as s
where s.recording_id = recording
    and s.reference_recording_id = reference
