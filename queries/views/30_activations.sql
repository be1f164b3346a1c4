-- title: Activations and responses
-- One row a neuron and image: the raw activation, and the response normalised by the default reference.

create view activation as
select
    n.model_name as model,
    n.layer_name as layer,
    a.neuron,
    n.dataset_name as dataset,
    a.image,
    a.value
from stored_activation as a
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
    a.neuron,
    n.dataset_name as dataset,
    a.image,
    positive_part(a.value) / reference_scale(x.reference_max) as response,
    a.value
from stored_activation as a
join stored_named_layer as n using (recording_id, layer_id)
join stored_reference_maximum as x using (recording_id, layer_id, neuron);
comment on view response is 'Normalised responses, against the model''s default reference.';
comment on column response.model is 'Name of the model.';
comment on column response.layer is 'Name of the layer.';
comment on column response.neuron is 'Number of the neuron, from 0.';
comment on column response.dataset is 'Name of the dataset.';
comment on column response.image is 'Number of the image.';
comment on column response.response is 'max(activation, 0) divided by the largest in the default reference: 0..1 there, may exceed 1 elsewhere; NULL when the neuron is silent in the reference.';
comment on column response.value is 'The activation that it was made from.';

create view response_by_image as
select
    n.model_name as model,
    n.layer_name as layer,
    x.neuron,
    n.dataset_name as dataset,
    a.image,
    positive_part(a.values[x.element]) / reference_scale(x.reference_max) as response,
    a.values[x.element] as value
from stored_image_activation as a
join stored_named_layer as n using (recording_id, layer_id)
join stored_reference_maximum as x using (recording_id, layer_id, piece);
comment on view response_by_image is 'The same rows as response, kept in the order of images: fast for all neurons of a set of images, slow for one neuron.';
comment on column response_by_image.model is 'Name of the model.';
comment on column response_by_image.layer is 'Name of the layer.';
comment on column response_by_image.neuron is 'Number of the neuron, from 0.';
comment on column response_by_image.dataset is 'Name of the dataset.';
comment on column response_by_image.image is 'Number of the image.';
comment on column response_by_image.response is 'Normalised response, as in the view response.';
comment on column response_by_image.value is 'The activation that it was made from.';
