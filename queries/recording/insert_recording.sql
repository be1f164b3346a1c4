-- The row that makes a recording complete, written last.
insert into stored_recording
select
    $recording_id,
    $model_id,
    $dataset_id,
    'complete',
    now() at time zone 'UTC',
    $images,
    $output_layer_id,
    $output_kind,
    $weights_checksum,
    $torch_version,
    $deephys_sql_version,
    $arguments,
    $checksum
