-- The layers of a model, in the order recorded, with the number of its recordings that hold them.
select
    l.layer_id,
    l.name,
    l.neurons,
    l.nonlinearity is not null or l.pooling is not null as is_described,
    count(k.recording_id) as recordings
from stored_layer as l
join stored_model as m using (model_id)
left join stored_recorded_layer as k using (layer_id)
where m.name = $model
group by all
order by min(l.position)
