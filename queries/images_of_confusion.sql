-- title: Images of a confusion in every dataset
-- The images of category a predicted as b, and of b predicted as a, in several datasets; the most confident first.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter a: varchar, example 3 - Name of one category.
-- parameter b: varchar, example 5 - Name of the other category.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter k: integer, from 1, default 12, example 10 - How many images of a dataset and direction at most.
-- column dataset: name of the dataset
-- column direction: a_as_b (label a, predicted b) or b_as_a
-- column rank: 1 and on: confidence descending, then image ascending
-- column image: number of the image
-- column confidence: probability of the prediction, 0..1
-- column images: how many there are of this dataset and direction
with recorded as materialized (
    select
        d.name as dataset,
        r.dataset_id,
        r.recording_id,
        a.category as a,
        b.category as b
    from stored_model as m
    join stored_recording as r on r.model_id = m.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    join stored_category as a
        on a.category_list_id = m.category_list_id
        and a.name = $a
    join stored_category as b
        on b.category_list_id = m.category_list_id
        and b.name = $b
    where m.name = $model
        and a.category != b.category
        and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), d.name))
)
select
    q.dataset,
    case when i.label = q.a then 'a_as_b' else 'b_as_a' end as direction,
    row_number() over (partition by q.dataset, i.label order by p.confidence desc nulls last, p.image) as rank,
    p.image,
    p.confidence,
    count(*) over (partition by q.dataset, i.label) as images
from recorded as q
join stored_prediction as p on p.recording_id = q.recording_id
join stored_image as i
    on i.dataset_id = q.dataset_id
    and i.image = p.image
where (i.label = q.a and p.predicted = q.b)
    or (i.label = q.b and p.predicted = q.a)
qualify rank <= $k
order by q.dataset, direction, rank
