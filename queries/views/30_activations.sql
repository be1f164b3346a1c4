-- title: Activations and responses
-- One row a neuron and image: the raw activation, and the response normalised by the default reference.

-- An array is made a list once a row: taking an element of an array copies all 64. Columns are named with their table, since
-- a macro that reads the view would put its argument of that name in their place.
create view stored_value as
select
    x.recording_id,
    x.layer_id,
    x.neuron,
    a.image,
    a.values[x.element] as value,
    x.reference_max
from (select p.piece, p.image, cast(p.values as float[]) as values from stored_activation as p) as a
join stored_neuron as x using (piece);
comment on view stored_value is 'One row an activation, by ids.';
comment on column stored_value.recording_id is 'Id of the recording.';
comment on column stored_value.layer_id is 'Id of the layer.';
comment on column stored_value.neuron is 'Number of the neuron, from 0.';
comment on column stored_value.image is 'Number of the image in its dataset, from 0.';
comment on column stored_value.value is 'Activation, float32 as recorded.';
comment on column stored_value.reference_max is 'The largest activation of the neuron in the model''s default reference; NULL when that was recorded without the layer, or not at all.';

create view activation as
select
    n.model_name as model,
    n.layer_name as layer,
    v.neuron,
    n.dataset_name as dataset,
    v.image,
    v.value
from stored_value as v
join stored_named_layer as n using (recording_id, layer_id);
comment on view activation is 'What each neuron did on each image: the raw value, sign kept.';
comment on column activation.model is 'Name of the model.';
comment on column activation.layer is 'Name of the layer.';
comment on column activation.neuron is 'Number of the neuron, from 0.';
comment on column activation.dataset is 'Name of the dataset.';
comment on column activation.image is 'Number of the image.';
comment on column activation.value is 'Activation, float32 as recorded.';

-- Not greatest(value, 0), which takes ten times as long.
create macro positive_part(value) as case when value > 0 then value else 0 end;
comment on macro positive_part is 'The value where it is positive, else 0.';

create macro reference_scale(maximum) as nullif(cast(greatest(maximum, 0) as double), 0);
comment on macro reference_scale is 'What responses of a neuron are divided by: its largest activation in the reference; NULL when it is silent there.';

create view response as
select
    n.model_name as model,
    n.layer_name as layer,
    v.neuron,
    n.dataset_name as dataset,
    v.image,
    positive_part(v.value) / reference_scale(v.reference_max) as response,
    v.value
from stored_value as v
join stored_named_layer as n using (recording_id, layer_id);
comment on view response is 'Normalised responses, against the model''s default reference.';
comment on column response.model is 'Name of the model.';
comment on column response.layer is 'Name of the layer.';
comment on column response.neuron is 'Number of the neuron, from 0.';
comment on column response.dataset is 'Name of the dataset.';
comment on column response.image is 'Number of the image.';
comment on column response.response is 'max(activation, 0) divided by the largest in the default reference: 0..1 there, may exceed 1 elsewhere; NULL when the neuron is silent in the reference.';
comment on column response.value is 'The activation that it was made from.';
