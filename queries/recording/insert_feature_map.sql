-- Keeps the places of a layer of a recording.
insert into stored_feature_map by name
select
    $recording_id as recording_id,
    $layer_id as layer_id,
    $map_rows as map_rows,
    $map_columns as map_columns,
    $leading_tokens as leading_tokens,
    $input_height as input_height,
    $input_width as input_width,
    $field_top as field_top,
    $field_left as field_left,
    $field_height as field_height,
    $field_width as field_width,
    $stride_down as stride_down,
    $stride_across as stride_across
