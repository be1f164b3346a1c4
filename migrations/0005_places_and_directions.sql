-- Where in an image a neuron fired, and layers that are directions of another layer.

alter table stored_top_image add column place_row integer;
alter table stored_top_image add column place_column integer;
comment on column stored_top_image.place_row is 'Row of the feature map, or of the grid of tokens, that the activation came from, from 0; NULL when it came from no one place.';
comment on column stored_top_image.place_column is 'Column, from 0; the token''s number where the tokens are no grid.';

create table stored_feature_map (
    recording_id integer not null,
    layer_id integer not null,
    map_rows integer,
    map_columns integer,
    leading_tokens integer not null,
    input_height integer,
    input_width integer,
    field_top double,
    field_left double,
    field_height double,
    field_width double,
    stride_down double,
    stride_across double
);
comment on table stored_feature_map is 'The places of a layer whose activations are maxima over places: the size of its feature map, and what part of the model''s input each place sees.';
comment on column stored_feature_map.recording_id is 'Id of the recording.';
comment on column stored_feature_map.layer_id is 'Id of the layer.';
comment on column stored_feature_map.map_rows is 'Rows of the feature map or of the grid of tokens; NULL when it was not the same for all images.';
comment on column stored_feature_map.map_columns is 'Its columns; the number of tokens where they are no grid.';
comment on column stored_feature_map.leading_tokens is 'Tokens before those of the grid, such as the class token; 0 for a feature map.';
comment on column stored_feature_map.input_height is 'Pixels of the model''s input; NULL when it is no picture or was not the same for all images. What follows is NULL then, or when it could not be measured.';
comment on column stored_feature_map.input_width is 'Pixels of the model''s input.';
comment on column stored_feature_map.field_top is 'First row of the input that the place 0 sees, in pixels; negative where that lies in the padding.';
comment on column stored_feature_map.field_left is 'First column of the input that the place 0 sees, in pixels.';
comment on column stored_feature_map.field_height is 'Pixels of the input that a place sees, from top to bottom: the receptive field; of tokens, the patch that a token began as.';
comment on column stored_feature_map.field_width is 'The same from left to right.';
comment on column stored_feature_map.stride_down is 'Pixels of the input from one row of places to the next; 0 when every place sees the same.';
comment on column stored_feature_map.stride_across is 'Pixels of the input from one column of places to the next.';

create table stored_directions (
    layer_id integer primary key,
    source_layer_id integer not null,
    nonlinearity varchar,
    checksum varchar not null
);
comment on table stored_directions is 'Layers that were made from another layer by a matrix; they are made for each later recording of that layer too.';
comment on column stored_directions.layer_id is 'Id of the layer that was made.';
comment on column stored_directions.source_layer_id is 'Id of the layer that it was made from.';
comment on column stored_directions.nonlinearity is 'What followed the matrix: relu, or NULL.';
comment on column stored_directions.checksum is 'SHA-256 of weights, then biases, neuron after neuron, as little-endian float32 and float64.';

create table stored_direction (
    layer_id integer not null,
    neuron integer not null,
    weights float[] not null,
    bias double not null
);
comment on table stored_direction is 'The directions: activation = bias + the sum over the source layer''s neurons of weight times activation.';
comment on column stored_direction.layer_id is 'Id of the layer that was made.';
comment on column stored_direction.neuron is 'Number of the neuron in it, from 0.';
comment on column stored_direction.weights is 'One weight a neuron of the source layer, in their order.';
comment on column stored_direction.bias is 'What is added; what was subtracted before (a centre) is in it.';
