-- title: Images and predictions
-- One row an image, and one row an image and model.

-- With a row for an unknown label, so that names are joined with an inner join, and the planner is free to choose images first.
create view label as
select
    c.category_list_id,
    c.category as label,
    c.name as label_name
from stored_category as c
union all
select
    k.category_list_id,
    null,
    null
from stored_category_list as k;
comment on view label is 'Every label that an image can have: the categories of a list, and the unknown.';
comment on column label.category_list_id is 'Id of the list of categories.';
comment on column label.label is 'Category id; NULL for the unknown label.';
comment on column label.label_name is 'Name of the category; NULL for the unknown label.';

create view image as
select
    d.name as dataset,
    i.image,
    i.label,
    c.label_name,
    i.width,
    i.height,
    i.uri,
    i.metadata,
    i.thumbnail,
    i.thumbnail_type,
    i.original,
    i.original_type
from stored_image as i
join stored_dataset as d using (dataset_id)
join label as c
    on c.category_list_id = d.category_list_id
    and c.label is not distinct from i.label;
comment on view image is 'The images of every dataset, with their pictures.';
comment on column image.dataset is 'Name of the dataset.';
comment on column image.image is 'Number of the image in its dataset, from 0.';
comment on column image.label is 'Ground-truth category id; NULL when unknown.';
comment on column image.label_name is 'Name of the ground-truth category.';
comment on column image.width is 'Width of the original picture in pixels.';
comment on column image.height is 'Height of the original picture in pixels.';
comment on column image.uri is 'Where the original lies, when that is known.';
comment on column image.metadata is 'Free fields of the image, a JSON object: metadata ->> ''field''.';
comment on column image.thumbnail is 'The small picture, encoded.';
comment on column image.thumbnail_type is 'Media type of the thumbnail, such as image/webp.';
comment on column image.original is 'The original picture, encoded, when it was kept.';
comment on column image.original_type is 'Media type of the original.';

create view prediction as
select
    n.model_name as model,
    n.dataset_name as dataset,
    p.image,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    p.confidence,
    p.predicted = p.label as correct,
    p.top_categories,
    p.top_probabilities,
    i.metadata
from stored_prediction as p
join stored_named_recording as n using (recording_id)
join stored_image as i
    on i.dataset_id = n.dataset_id
    and i.image = p.image;
comment on view prediction is 'What each model predicted for each image.';
comment on column prediction.model is 'Name of the model.';
comment on column prediction.dataset is 'Name of the dataset.';
comment on column prediction.image is 'Number of the image.';
comment on column prediction.label is 'Ground-truth category id; NULL when unknown.';
comment on column prediction.label_name is 'Name of the ground-truth category.';
comment on column prediction.predicted is 'Predicted category id: the highest logit, ties to the lower id, unless predictions were given.';
comment on column prediction.predicted_name is 'Name of the predicted category.';
comment on column prediction.confidence is 'Probability of the predicted category, 0..1; NULL without an output.';
comment on column prediction.correct is 'Whether the prediction is the label; NULL when the label is unknown.';
comment on column prediction.top_categories is 'The five most probable category ids, most probable first.';
comment on column prediction.top_probabilities is 'Their probabilities, 0..1.';
comment on column prediction.metadata is 'Free fields of the image, a JSON object.';

create view confusion as
select
    n.model_name as model,
    n.dataset_name as dataset,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    count(*) as images
from stored_prediction as p
join stored_named_recording as n using (recording_id)
where p.label is not null
group by n.model_name, n.dataset_name, p.label, p.label_name, p.predicted, p.predicted_name;
comment on view confusion is 'How many images of each label got each prediction; pairs that never occur have no row.';
comment on column confusion.model is 'Name of the model.';
comment on column confusion.dataset is 'Name of the dataset.';
comment on column confusion.label is 'Ground-truth category id.';
comment on column confusion.label_name is 'Name of the ground-truth category.';
comment on column confusion.predicted is 'Predicted category id.';
comment on column confusion.predicted_name is 'Name of the predicted category.';
comment on column confusion.images is 'Number of images.';

create view accuracy as
with counted as (
    select
        k.model,
        k.dataset,
        k.category,
        sum(k.labelled) as labelled,
        sum(k.predicted) as predicted,
        sum(k.both) as both
    from (
        select
            c.model,
            c.dataset,
            c.label as category,
            c.images as labelled,
            0 as predicted,
            case when c.label = c.predicted then c.images else 0 end as both
        from confusion as c
        union all
        select
            c.model,
            c.dataset,
            c.predicted,
            0,
            c.images,
            0
        from confusion as c
    ) as k
    group by k.model, k.dataset, k.category
)
select
    r.model_name as model,
    r.dataset_name as dataset,
    c.category,
    c.name as category_name,
    cast(coalesce(n.labelled, 0) as bigint) as images,
    cast(n.both as double) / nullif(n.labelled, 0) as recall,
    cast(n.both as double) / nullif(n.predicted, 0) as precision
from stored_named_recording as r
join stored_category as c on c.category_list_id = r.category_list_id
left join counted as n
    on n.model = r.model_name
    and n.dataset = r.dataset_name
    and n.category = c.category;
comment on view accuracy is 'Recall and precision of each category, over images whose label is known.';
comment on column accuracy.model is 'Name of the model.';
comment on column accuracy.dataset is 'Name of the dataset.';
comment on column accuracy.category is 'Category id.';
comment on column accuracy.category_name is 'Name of the category.';
comment on column accuracy.images is 'Number of images with this label.';
comment on column accuracy.recall is 'Share of the images with this label that were predicted so, 0..1; NULL without such images.';
comment on column accuracy.precision is 'Share of the images predicted so that have this label, 0..1; NULL without such images.';

create view dataset_accuracy as
select
    r.model_name as model,
    r.dataset_name as dataset,
    count(p.label) as images,
    cast(count(*) filter (where p.label = p.predicted) as double) / nullif(count(p.label), 0) as accuracy
from stored_named_recording as r
left join stored_prediction as p using (recording_id)
group by r.model_name, r.dataset_name;
comment on view dataset_accuracy is 'Accuracy of a model on a dataset, over images whose label is known.';
comment on column dataset_accuracy.model is 'Name of the model.';
comment on column dataset_accuracy.dataset is 'Name of the dataset.';
comment on column dataset_accuracy.images is 'Number of images with a known label.';
comment on column dataset_accuracy.accuracy is 'Share of them predicted right, 0..1; NULL without such images.';
