-- title: Summaries kept with each recording
-- Distribution, top images and category responses of every neuron.

create view neuron_summary as
select
    n.model_name as model,
    n.layer_name as layer,
    s.neuron,
    n.dataset_name as dataset,
    s.images,
    s.min,
    s.max,
    s.mean,
    s.std,
    s.q01,
    s.q05,
    s.q25,
    s.q50,
    s.q75,
    s.q95,
    s.q99,
    s.share_positive,
    x.reference_max <= 0 as silent_in_reference
from stored_neuron_summary as s
join stored_named_layer as n using (recording_id, layer_id)
join stored_neuron as x using (recording_id, layer_id, neuron);
comment on view neuron_summary is 'The distribution of a neuron''s activations over a dataset.';
comment on column neuron_summary.model is 'Name of the model.';
comment on column neuron_summary.layer is 'Name of the layer.';
comment on column neuron_summary.neuron is 'Number of the neuron, from 0.';
comment on column neuron_summary.dataset is 'Name of the dataset.';
comment on column neuron_summary.images is 'Number of images.';
comment on column neuron_summary.min is 'Smallest activation.';
comment on column neuron_summary.max is 'Largest activation.';
comment on column neuron_summary.mean is 'Mean activation, sign kept.';
comment on column neuron_summary.std is 'Population standard deviation.';
comment on column neuron_summary.q01 is 'Quantile .01 of the activations, interpolated linearly.';
comment on column neuron_summary.q05 is 'Quantile .05.';
comment on column neuron_summary.q25 is 'Quantile .25.';
comment on column neuron_summary.q50 is 'Median.';
comment on column neuron_summary.q75 is 'Quantile .75.';
comment on column neuron_summary.q95 is 'Quantile .95.';
comment on column neuron_summary.q99 is 'Quantile .99.';
comment on column neuron_summary.share_positive is 'Share of the images with a positive activation, 0..1.';
comment on column neuron_summary.silent_in_reference is 'Whether no image of the default reference activates the neuron; NULL when the reference lacks the layer.';

-- What a place sees along one axis, as shares of the picture: it is as wide as the model's input, or was made so.
create macro seen_from(place, field_start, stride, pixels) as
    case when field_start + place * stride is not null then least(greatest(field_start + place * stride, 0), pixels) / pixels end;
comment on macro seen_from is 'Where what a place sees begins, as a share of the picture: seen_from(place, field_start, stride, pixels).';

create macro seen_to(place, field_start, field_size, stride, pixels) as
    seen_from(place, field_start + field_size, stride, pixels);
comment on macro seen_to is 'Where what a place sees ends, as a share of the picture: seen_to(place, field_start, field_size, stride, pixels).';

create view top_image as
select
    n.model_name as model,
    n.layer_name as layer,
    t.neuron,
    n.dataset_name as dataset,
    t.rank,
    t.image,
    t.value,
    t.value / reference_scale(x.reference_max) as response,
    t.label,
    t.label_name,
    t.predicted,
    t.predicted_name,
    t.place_row,
    t.place_column,
    seen_from(t.place_column, f.field_left, f.stride_across, f.input_width) as seen_left,
    seen_from(t.place_row, f.field_top, f.stride_down, f.input_height) as seen_top,
    seen_to(t.place_column, f.field_left, f.field_width, f.stride_across, f.input_width) as seen_right,
    seen_to(t.place_row, f.field_top, f.field_height, f.stride_down, f.input_height) as seen_bottom
from stored_top_image as t
join stored_named_layer as n using (recording_id, layer_id)
join stored_neuron as x using (recording_id, layer_id, neuron)
left join stored_feature_map as f
    on f.recording_id = t.recording_id
    and f.layer_id = t.layer_id;
comment on view top_image is 'The 100 images that activate a neuron most, positive activations only.';
comment on column top_image.model is 'Name of the model.';
comment on column top_image.layer is 'Name of the layer.';
comment on column top_image.neuron is 'Number of the neuron, from 0.';
comment on column top_image.dataset is 'Name of the dataset.';
comment on column top_image.rank is '1..100: activation descending, then image ascending.';
comment on column top_image.image is 'Number of the image.';
comment on column top_image.value is 'Activation.';
comment on column top_image.response is 'Activation divided by the largest in the default reference; NULL when the neuron is silent there.';
comment on column top_image.label is 'Ground-truth category id; NULL when unknown.';
comment on column top_image.label_name is 'Name of the ground-truth category.';
comment on column top_image.predicted is 'Predicted category id.';
comment on column top_image.predicted_name is 'Name of the predicted category.';
comment on column top_image.place_row is 'Row of the feature map, or of the grid of tokens, where the maximum lies, from 0, the first of equal ones; NULL for a layer that is no maximum over places, and for a class token.';
comment on column top_image.place_column is 'Its column, from 0; the number of the token where tokens are no grid.';
comment on column top_image.seen_left is 'What that place sees of the picture, its receptive field: left edge as a share of the width, 0..1; NULL when it is not known. Pictures of another size or shape than the model''s input are taken to be stretched to it.';
comment on column top_image.seen_top is 'Upper edge, as a share of the height.';
comment on column top_image.seen_right is 'Right edge, as a share of the width.';
comment on column top_image.seen_bottom is 'Lower edge, as a share of the height.';

-- Names come last, and from a left join: the planner would pair all neurons with all categories first.
create view category_response as
select
    n.model_name as model,
    n.layer_name as layer,
    s.neuron,
    n.dataset_name as dataset,
    s.category,
    c.name as category_name,
    s.images,
    s.response_sum / (s.images * reference_scale(x.reference_max)) as response
from stored_category_response as s
join stored_named_layer as n using (recording_id, layer_id)
join stored_neuron as x using (recording_id, layer_id, neuron)
left join stored_category as c
    on c.category_list_id = n.category_list_id
    and c.category = s.category;
comment on view category_response is 'Mean normalised response of a neuron over the images of a category; categories without images have no row.';
comment on column category_response.model is 'Name of the model.';
comment on column category_response.layer is 'Name of the layer.';
comment on column category_response.neuron is 'Number of the neuron, from 0.';
comment on column category_response.dataset is 'Name of the dataset.';
comment on column category_response.category is 'Category id of the images'' label.';
comment on column category_response.category_name is 'Name of the category.';
comment on column category_response.images is 'Number of images behind the mean.';
comment on column category_response.response is 'Mean of max(activation, 0), divided by the largest response in the default reference; NULL when the neuron is silent there.';

create view strongest_category as
select
    n.model_name as model,
    n.layer_name as layer,
    s.neuron,
    n.dataset_name as dataset,
    s.category,
    c.name as category_name,
    s.images,
    s.response_sum / (s.images * reference_scale(x.reference_max)) as response
from stored_strongest_category as s
join stored_named_layer as n using (recording_id, layer_id)
join stored_category as c
    on c.category_list_id = n.category_list_id
    and c.category = s.category
join stored_neuron as x using (recording_id, layer_id, neuron);
comment on view strongest_category is 'The category that a neuron responds to most in each dataset: the row of category_response with the largest response, ties to the lower category.';
comment on column strongest_category.model is 'Name of the model.';
comment on column strongest_category.layer is 'Name of the layer.';
comment on column strongest_category.neuron is 'Number of the neuron, from 0.';
comment on column strongest_category.dataset is 'Name of the dataset.';
comment on column strongest_category.category is 'Category id.';
comment on column strongest_category.category_name is 'Name of the category.';
comment on column strongest_category.images is 'Number of images behind the mean.';
comment on column strongest_category.response is 'Mean normalised response, 0 for a neuron that no labelled image activates; NULL when the neuron is silent in the reference.';
