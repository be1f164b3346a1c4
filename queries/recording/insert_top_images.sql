-- Inserts the top images of a recorded layer, with label and prediction beside each.
insert into stored_top_image by name
select
    t.*,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    $recording_id as recording_id,
    $layer_id as layer_id
from incoming as t
left join stored_prediction as p
    on p.recording_id = $recording_id
    and p.image = t.image
order by t.neuron, t.rank
