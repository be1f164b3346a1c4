-- What the places of a layer see of an input of some size, as measured for another recording of the model.
select
    f.field_top,
    f.field_height,
    f.stride_down,
    f.field_left,
    f.field_width,
    f.stride_across
from stored_feature_map as f
join stored_layer as l using (layer_id)
where l.model_id = $model_id
    and l.name = $layer
    and f.map_rows = $map_rows
    and f.map_columns = $map_columns
    and f.input_height = $input_height
    and f.input_width = $input_width
order by f.recording_id
limit 1
