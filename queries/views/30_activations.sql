-- title: Activations and responses
-- One row a neuron and image: the raw activation, and the response normalised by the default reference.

create view activation as
select
    m.name as model,
    l.name as layer,
    a.neuron,
    d.name as dataset,
    a.image,
    a.value
from stored_activation as a
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id;
comment on view activation is 'What each neuron did on each image: the raw value, sign kept.';
comment on column activation.model is 'Name of the model.';
comment on column activation.layer is 'Name of the layer.';
comment on column activation.neuron is 'Number of the neuron, from 0.';
comment on column activation.dataset is 'Name of the dataset.';
comment on column activation.image is 'Number of the image.';
comment on column activation.value is 'Activation, float32 as recorded.';

create view reference_maximum as
select
    s.layer_id,
    s.neuron,
    cast(greatest(s.max, 0) as double) as maximum
from stored_neuron_summary as s
join stored_recording as r using (recording_id)
join stored_model as m
    on m.model_id = r.model_id
    and m.reference_dataset_id = r.dataset_id;
comment on view reference_maximum is 'The largest response of each neuron in its model''s default reference: what responses are divided by.';
comment on column reference_maximum.layer_id is 'Id of the layer.';
comment on column reference_maximum.neuron is 'Number of the neuron, from 0.';
comment on column reference_maximum.maximum is 'Largest response, >= 0; 0 marks a neuron that is silent in the reference.';

create view response as
select
    m.name as model,
    l.name as layer,
    a.neuron,
    d.name as dataset,
    a.image,
    greatest(a.value, 0) / nullif(x.maximum, 0) as response,
    a.value
from stored_activation as a
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id
left join reference_maximum as x
    on x.layer_id = a.layer_id
    and x.neuron = a.neuron;
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
    m.name as model,
    l.name as layer,
    a.piece * 16 + e.element as neuron,
    d.name as dataset,
    a.image,
    greatest(a.values[e.element + 1], 0) / nullif(x.maximum, 0) as response,
    a.values[e.element + 1] as value
from stored_image_activation as a
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id
cross join (select cast(range as integer) as element from range(16)) as e
left join reference_maximum as x
    on x.layer_id = a.layer_id
    and x.neuron = a.piece * 16 + e.element
where a.piece * 16 + e.element < l.neurons;
comment on view response_by_image is 'The same rows as response, kept in the order of images: fast for all neurons of a set of images, slow for one neuron.';
comment on column response_by_image.model is 'Name of the model.';
comment on column response_by_image.layer is 'Name of the layer.';
comment on column response_by_image.neuron is 'Number of the neuron, from 0.';
comment on column response_by_image.dataset is 'Name of the dataset.';
comment on column response_by_image.image is 'Number of the image.';
comment on column response_by_image.response is 'Normalised response, as in the view response.';
comment on column response_by_image.value is 'The activation that it was made from.';
