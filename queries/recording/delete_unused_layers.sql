-- Removes layers of a model that no recording holds any more.
delete from stored_layer
where model_id = $model_id
    and layer_id not in (select layer_id from stored_recorded_layer)
