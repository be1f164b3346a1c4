-- title: Images predicted wrong
-- Wrongly predicted images of a dataset, the most confident first: all of them; with a label the false negatives of that category; with a prediction its false positives; with both a confusion.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter label: varchar, default null, example 3 - Name of the ground-truth category; without it any.
-- parameter predicted: varchar, default null, example 5 - Name of the predicted category; without it any.
-- parameter k: integer, from 1, default 50, example 10 - How many images at most.
-- parameter skip: integer, default 0, example 0 - How many images to leave out before those.
-- column image: number of the image
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
-- column confidence: probability of the prediction, 0..1
select
    p.image,
    i.label,
    c.name as label_name,
    p.predicted,
    b.name as predicted_name,
    p.confidence
from stored_recording as r
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id
join stored_prediction as p on p.recording_id = r.recording_id
join stored_image as i
    on i.dataset_id = r.dataset_id
    and i.image = p.image
    and i.label != p.predicted
join stored_category as b
    on b.category_list_id = m.category_list_id
    and b.category = p.predicted
join stored_category as c
    on c.category_list_id = m.category_list_id
    and c.category = i.label
where m.name = $model
    and d.name = $dataset
    and ($label is null or c.name = $label)
    and ($predicted is null or b.name = $predicted)
order by p.confidence desc nulls last, p.image
limit $k offset $skip
