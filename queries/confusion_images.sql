-- title: Images of a confusion
-- The images of category a predicted as b, of b predicted as a, or both; the most confident first.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter a: varchar, example 3 - Name of one category.
-- parameter b: varchar, example 5 - Name of the other category.
-- parameter direction: varchar, one of both|a_as_b|b_as_a, default both, example a_as_b - both, a_as_b (label a, predicted b) or b_as_a.
-- parameter k: integer, from 1, default 100, example 10 - How many images at most.
-- column image: number of the image
-- column label_name: name of the ground-truth category
-- column predicted_name: name of the predicted category
-- column confidence: probability of the prediction, 0..1
select
    p.image,
    p.label_name,
    p.predicted_name,
    p.confidence
from prediction as p
where p.model = $model
    and p.dataset = $dataset
    and (
        (p.label_name = $a and p.predicted_name = $b and $direction in ('both', 'a_as_b'))
        or (p.label_name = $b and p.predicted_name = $a and $direction in ('both', 'b_as_a'))
    )
order by p.confidence desc nulls last, p.image
limit $k
