-- title: First images of confusions
-- The most confident images of one or more confusions, each a label and a wrong prediction, in several datasets; mistaken_images has all of one.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter confusions: varchar, example [[3, 5], [5, 3]] - Pairs of category ids, label and prediction, a JSON list.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter k: integer, from 1, default 12, example 10 - How many images of a dataset and confusion at most.
-- column dataset: name of the dataset
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
-- column rank: 1 and on: confidence descending, then image ascending
-- column image: number of the image
-- column confidence: probability of the prediction, 0..1
-- column images: how many there are of this dataset and confusion
with asked as (
    select unnest(from_json($confusions, '[["integer"]]')) as confusion
),
confusion as materialized (
    select distinct
        a.confusion[1] as label,
        a.confusion[2] as predicted
    from asked as a
    where a.confusion[1] != a.confusion[2]
),
mistake as (
    select
        n.dataset_name as dataset,
        p.label,
        p.label_name,
        p.predicted,
        p.predicted_name,
        row_number() over (partition by p.recording_id, p.label, p.predicted order by p.confidence desc nulls last, p.image) as rank,
        p.image,
        p.confidence,
        count(*) over (partition by p.recording_id, p.label, p.predicted) as images
    from stored_prediction as p
    join stored_named_recording as n using (recording_id)
    join confusion as c
        on c.label = p.label
        and c.predicted = p.predicted
    where n.model_name = $model
        and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), n.dataset_name))
    qualify rank <= $k
)
select
    s.dataset,
    s.label,
    s.label_name,
    s.predicted,
    s.predicted_name,
    s.rank,
    s.image,
    s.confidence,
    s.images
from mistake as s
order by s.dataset, s.label, s.predicted, s.rank
