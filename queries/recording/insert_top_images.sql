-- Inserts the top images of a recorded layer, with label and prediction beside each.
insert into stored_top_image by name
select
    t.neuron,
    t.rank,
    t.image,
    t.value,
    t.place_row,
    t.place_column,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    $recording_id as recording_id,
    $layer_id as layer_id
from incoming as t
join stored_prediction as p using (image)
where p.recording_id = $recording_id
order by t.neuron, t.rank
