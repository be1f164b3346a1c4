-- Activations lie in the file once: rows of 64 neurons, in blocks of 2,048 images, in a block piece after piece.
--
-- A row for every activation (fast for neurons) and rows of 16 neurons for every image (fast for sets of images) took twice
-- the room, and twice the time to write. Of rows of 64 neurons, found by one number, both kinds of questions read little: a
-- filter on neurons leaves one piece, a filter on images leaves a few rows of each, and a join on one column skips the others.
--
-- Here the tables are made; the activations are moved row by row by deephys_sql/recording/moving.py, which also drops
-- stored_image_activation.

drop table stored_activation;
drop table stored_reference_maximum;

create sequence piece_number;

create table stored_piece (
    recording_id integer not null,
    layer_id integer not null,
    first_piece integer not null
);
comment on table stored_piece is 'Which rows of stored_activation hold a recorded layer: those of piece first_piece + neuron // 64.';
comment on column stored_piece.recording_id is 'Id of the recording.';
comment on column stored_piece.layer_id is 'Id of the layer.';
comment on column stored_piece.first_piece is 'The piece that holds neurons 0 to 63; those that follow hold 64 each.';

create table stored_activation (
    piece integer not null,
    image integer not null,
    values float[64] not null
);
comment on table stored_activation is 'The activations: 64 neurons of an image a row, in blocks of 2,048 images (fewer in layers of more than 8,192 neurons), in a block piece after piece.';
comment on column stored_activation.piece is 'Which 64 neurons of which recorded layer: see stored_neuron.';
comment on column stored_activation.image is 'Number of the image in its dataset, from 0.';
comment on column stored_activation.values is 'Their activations, float32 as recorded; zeros where the layer has no more neurons.';

-- One row a neuron of a recording, so that views join it as they join names, with an inner join on one number: the planner
-- hands what it finds here on to the scan of the activations. Derived; queries/recording/derive.sql fills it.
create table stored_neuron (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    piece integer not null,
    element integer not null,
    reference_max float
);
comment on table stored_neuron is 'Where the activations of each neuron of a recording lie, and what its responses are divided by.';
comment on column stored_neuron.recording_id is 'Id of the recording.';
comment on column stored_neuron.layer_id is 'Id of the layer.';
comment on column stored_neuron.neuron is 'Number of the neuron, from 0.';
comment on column stored_neuron.piece is 'The rows of stored_activation that hold it.';
comment on column stored_neuron.element is 'Its place in their values, 1 to 64.';
comment on column stored_neuron.reference_max is 'Its largest activation in the model''s default reference; NULL when that was recorded without the layer, or not at all.';
