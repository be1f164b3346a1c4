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
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    p.confidence
from stored_prediction as p
join stored_named_recording as n using (recording_id)
where n.model_name = $model
    and n.dataset_name = $dataset
    and p.label != p.predicted
    and ($label is null or p.label_name = $label)
    and ($predicted is null or p.predicted_name = $predicted)
order by p.confidence desc nulls last, p.image
limit $k offset $skip
