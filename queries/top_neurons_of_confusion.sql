-- title: Top neurons of a confusion
-- The neurons of a layer with the largest mean response over the images of a confusion, in one direction or both.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter a: varchar, example 3 - Name of one category.
-- parameter b: varchar, example 5 - Name of the other category.
-- parameter direction: varchar, one of both|a_as_b|b_as_a, default both, example a_as_b - both, a_as_b (label a, predicted b) or b_as_a.
-- parameter k: integer, from 1, default 25, example 10 - How many neurons at most.
-- column rank: 1 and on: response descending, then neuron ascending
-- column neuron: number of the neuron
-- column response: mean response over the images
-- column images: images of the confusion
select
    rank,
    neuron,
    response,
    images
from top_neurons_of(
    $model,
    $layer,
    $dataset,
    (
        select list(p.image)
        from prediction as p
        where p.model = $model
            and p.dataset = $dataset
            and (
                (p.label_name = $a and p.predicted_name = $b and $direction in ('both', 'a_as_b'))
                or (p.label_name = $b and p.predicted_name = $a and $direction in ('both', 'b_as_a'))
            )
    ),
    $k
)
order by rank
