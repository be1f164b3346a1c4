-- title: Top neurons of an image
-- The neurons of a layer that respond most to an image, positive responses only.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter image: integer, from 0, example 0 - Number of the image, from 0.
-- parameter k: integer, from 1, default 25, example 10 - How many neurons at most.
-- column rank: 1 and on: response descending, then neuron ascending
-- column neuron: number of the neuron
-- column response: activation divided by the largest in the reference
-- column value: activation
select
    rank,
    neuron,
    response,
    value
from top_neurons($model, $layer, $dataset, $image, $k)
order by rank
