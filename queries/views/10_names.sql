-- title: What is in the store
-- Models, layers, datasets, categories and recordings, by their names.

create view model as
select
    m.name as model,
    d.name as reference,
    m.category_list_id as category_list
from stored_model as m
left join stored_dataset as d on d.dataset_id = m.reference_dataset_id;
comment on view model is 'One set of weights (a checkpoint), and its default reference.';
comment on column model.model is 'Name of the model.';
comment on column model.reference is 'The dataset that its responses are measured against unless a query names another.';
comment on column model.category_list is 'Number of the list of categories that it predicts.';

create view layer as
select
    m.name as model,
    l.name as layer,
    l.neurons,
    l.position,
    l.nonlinearity,
    l.pooling,
    s.name as made_from
from stored_layer as l
join stored_model as m using (model_id)
left join stored_directions as d using (layer_id)
left join stored_layer as s on s.layer_id = d.source_layer_id;
comment on view layer is 'A named output of a model: a matrix images x neurons.';
comment on column layer.model is 'Name of the model.';
comment on column layer.layer is 'Name of the layer.';
comment on column layer.neurons is 'Number of neurons, numbered from 0.';
comment on column layer.position is 'Place among the layers of the model, in the order first recorded.';
comment on column layer.nonlinearity is 'The non-linearity that the values came out of; NULL when it is not known.';
comment on column layer.pooling is 'How a feature map or tokens became one number a neuron; NULL when nothing was pooled.';
comment on column layer.made_from is 'The layer whose activations a matrix made it of (directions); NULL for a layer as the model gives it.';

create view directions as
select
    m.name as model,
    l.name as layer,
    w.neuron,
    s.name as made_from,
    w.weights,
    w.bias,
    d.nonlinearity
from stored_direction as w
join stored_directions as d using (layer_id)
join stored_layer as l using (layer_id)
join stored_layer as s on s.layer_id = d.source_layer_id
join stored_model as m on m.model_id = l.model_id;
comment on view directions is 'What the neurons of layers that are directions of another layer were made with.';
comment on column directions.model is 'Name of the model.';
comment on column directions.layer is 'Name of the layer that was made.';
comment on column directions.neuron is 'Number of the neuron in it, from 0.';
comment on column directions.made_from is 'The layer whose activations it was made of.';
comment on column directions.weights is 'One weight a neuron of that layer, in their order: activation = nonlinearity(bias + sum of weight times activation there).';
comment on column directions.bias is 'What is added; a centre that was subtracted before is in it.';
comment on column directions.nonlinearity is 'relu, or NULL.';

create view category as
select
    c.category_list_id as category_list,
    c.category,
    c.name as category_name
from stored_category as c;
comment on view category is 'The categories that labels and predictions speak of.';
comment on column category.category_list is 'Number of the list; models and datasets that are compared share one.';
comment on column category.category is 'Id of the category, from 0.';
comment on column category.category_name is 'Its name.';

create view dataset as
select
    d.name as dataset,
    d.images,
    d.category_list_id as category_list
from stored_dataset as d;
comment on view dataset is 'An ordered set of images.';
comment on column dataset.dataset is 'Name of the dataset.';
comment on column dataset.images is 'Number of images, numbered from 0.';
comment on column dataset.category_list is 'Number of the list of categories that its labels are from.';

create view recording as
select
    m.name as model,
    d.name as dataset,
    r.dataset_id = m.reference_dataset_id as is_reference,
    r.status,
    r.recorded_at,
    r.images,
    o.name as output_layer,
    r.output_kind,
    r.weights_checksum,
    r.torch_version,
    r.deephys_sql_version,
    r.arguments,
    r.checksum
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
left join stored_layer as o on o.layer_id = r.output_layer_id;
comment on view recording is 'What one model did on one dataset, with its provenance.';
comment on column recording.model is 'Name of the model.';
comment on column recording.dataset is 'Name of the dataset.';
comment on column recording.is_reference is 'Whether the dataset is the model''s default reference.';
comment on column recording.status is 'Always complete: a recording becomes visible in one transaction.';
comment on column recording.recorded_at is 'When it was recorded, in UTC.';
comment on column recording.images is 'Number of images.';
comment on column recording.output_layer is 'The layer that predictions were read from; NULL when they were given without an output.';
comment on column recording.output_kind is 'What the output holds: logits, log_softmax or probabilities.';
comment on column recording.weights_checksum is 'SHA-256 of the model''s parameters and buffers; NULL when recorded from arrays.';
comment on column recording.torch_version is 'Version of torch that ran the model; NULL when recorded from arrays.';
comment on column recording.deephys_sql_version is 'Version of this package that wrote the recording.';
comment on column recording.arguments is 'The arguments of the call that recorded, a JSON object.';
comment on column recording.checksum is 'SHA-256 over what was written.';

create macro recorded_layers(model, layer, reference) as table
select
    n.recording_id,
    n.layer_id,
    n.dataset_id,
    n.category_list_id,
    n.dataset_name as dataset,
    coalesce(case when reference is null then n.recording_id = n.reference_recording_id else n.dataset_name = reference end, false) as is_reference
from stored_named_layer as n
where n.model_name = model
    and n.layer_name = layer;
comment on macro table recorded_layers is 'The recordings that hold a layer, by ids, and which of them is the reference: recorded_layers(model, layer, reference). NULL takes the model''s default.';

create view feature_map as
select
    n.model_name as model,
    n.layer_name as layer,
    n.dataset_name as dataset,
    f.map_rows,
    f.map_columns,
    f.leading_tokens,
    f.input_height,
    f.input_width,
    f.field_top,
    f.field_left,
    f.field_height,
    f.field_width,
    f.stride_down,
    f.stride_across
from stored_feature_map as f
join stored_named_layer as n using (recording_id, layer_id);
comment on view feature_map is 'Of layers whose activations are maxima over places: the size of the feature map, and what each place sees of the input. The place in row i sees the rows from field_top + i * stride_down on, field_height of them, as far as they lie in the input; so with columns.';
comment on column feature_map.model is 'Name of the model.';
comment on column feature_map.layer is 'Name of the layer.';
comment on column feature_map.dataset is 'Name of the dataset.';
comment on column feature_map.map_rows is 'Rows of the feature map or of the grid of tokens; NULL when it was not the same for all images.';
comment on column feature_map.map_columns is 'Its columns; the number of tokens where they are no grid.';
comment on column feature_map.leading_tokens is 'Tokens before those of the grid, such as the class token; 0 for a feature map.';
comment on column feature_map.input_height is 'Pixels of the model''s input; NULL when it is no picture or was not the same for all images.';
comment on column feature_map.input_width is 'Pixels of the model''s input.';
comment on column feature_map.field_top is 'First row that the place 0 sees, in pixels of the input, negative in the padding; NULL when it could not be measured.';
comment on column feature_map.field_left is 'First column that the place 0 sees.';
comment on column feature_map.field_height is 'The receptive field, in pixels from top to bottom; of tokens, the patch that a token began as.';
comment on column feature_map.field_width is 'The same from left to right.';
comment on column feature_map.stride_down is 'Pixels from one row of places to the next; 0 when every place sees the same.';
comment on column feature_map.stride_across is 'Pixels from one column of places to the next.';
