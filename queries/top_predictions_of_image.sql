-- title: Most probable categories of an image
-- The five categories that a model finds most probable for an image.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter image: integer, from 0, example 0 - Number of the image, from 0.
-- column rank: 1 to 5, most probable first
-- column category: category id
-- column category_name: name of the category
-- column probability: its probability, 0..1
with top as (
    select
        n.category_list_id,
        p.top_categories,
        p.top_probabilities
    from stored_prediction as p
    join stored_named_recording as n using (recording_id)
    where n.model_name = $model
        and n.dataset_name = $dataset
        and p.image = $image
)
select
    e.position as rank,
    c.category,
    c.name as category_name,
    t.top_probabilities[e.position] as probability
from top as t
cross join (select cast(range as integer) as position from range(1, 6)) as e
join stored_category as c
    on c.category_list_id = t.category_list_id
    and c.category = t.top_categories[e.position]
order by rank
