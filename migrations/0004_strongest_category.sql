-- What pages ask of category responses: one category of all neurons, and the strongest category of each neuron.
--
-- Responses lay neuron after neuron, so that one category was spread over all of a layer. They lie in chunks of 128
-- categories now, in a chunk neuron after neuron, so that one neuron and one category skip most row groups both.

alter table stored_category_response rename to unordered_category_response;

create table stored_category_response (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    category integer not null,
    images integer not null,
    response_sum double not null
);
comment on table stored_category_response is 'Sums over the images of a category of the response max(activation, 0), not normalised; in chunks of 128 categories, in a chunk neuron after neuron.';
comment on column stored_category_response.recording_id is 'Id of the recording.';
comment on column stored_category_response.layer_id is 'Id of the layer.';
comment on column stored_category_response.neuron is 'Number of the neuron, from 0.';
comment on column stored_category_response.category is 'Id of the category, from 0.';
comment on column stored_category_response.response_sum is 'Sum of max(activation, 0) over the images.';
comment on column stored_category_response.images is 'Number of images of the dataset with this label.';

insert into stored_category_response
select
    recording_id,
    layer_id,
    neuron,
    category,
    images,
    response_sum
from unordered_category_response
order by recording_id, layer_id, category // 128, neuron, category;

drop table unordered_category_response;

create table stored_strongest_category (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    category integer not null,
    images integer not null,
    response_sum double not null
);
comment on table stored_strongest_category is 'The row of stored_category_response with the largest mean of each neuron, ties to the lower category; none without labels.';
comment on column stored_strongest_category.recording_id is 'Id of the recording.';
comment on column stored_strongest_category.layer_id is 'Id of the layer.';
comment on column stored_strongest_category.neuron is 'Number of the neuron, from 0.';
comment on column stored_strongest_category.category is 'Id of the category, from 0.';
comment on column stored_strongest_category.response_sum is 'Sum of max(activation, 0) over the images.';
comment on column stored_strongest_category.images is 'Number of images of the dataset with this label.';

insert into stored_strongest_category
select
    recording_id,
    layer_id,
    neuron,
    max_by(category, (response_sum / images, -category)),
    max_by(images, (response_sum / images, -category)),
    max_by(response_sum, (response_sum / images, -category))
from stored_category_response
group by recording_id, layer_id, neuron
order by recording_id, layer_id, neuron;
