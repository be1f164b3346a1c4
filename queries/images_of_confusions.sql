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
        d.name as dataset,
        m.category_list_id,
        i.label,
        p.predicted,
        row_number() over (partition by d.name, i.label, p.predicted order by p.confidence desc nulls last, p.image) as rank,
        p.image,
        p.confidence,
        count(*) over (partition by d.name, i.label, p.predicted) as images
    from stored_model as m
    join stored_recording as r on r.model_id = m.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    join stored_prediction as p on p.recording_id = r.recording_id
    join stored_image as i
        on i.dataset_id = r.dataset_id
        and i.image = p.image
    join confusion as c
        on c.label = i.label
        and c.predicted = p.predicted
    where m.name = $model
        and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), d.name))
    qualify rank <= $k
)
select
    s.dataset,
    s.label,
    c.name as label_name,
    s.predicted,
    b.name as predicted_name,
    s.rank,
    s.image,
    s.confidence,
    s.images
from mistake as s
join stored_category as c
    on c.category_list_id = s.category_list_id
    and c.category = s.label
join stored_category as b
    on b.category_list_id = s.category_list_id
    and b.category = s.predicted
order by s.dataset, s.label, s.predicted, s.rank
