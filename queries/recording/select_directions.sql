-- The layers of a model that are directions of another, sources first.
select
    d.layer_id,
    l.name,
    s.name,
    d.nonlinearity,
    l.neurons
from stored_directions as d
join stored_layer as l using (layer_id)
join stored_layer as s on s.layer_id = d.source_layer_id
where l.model_id = $model_id
order by d.layer_id
