-- title: Top neurons of a category
-- The neurons of a layer with the largest mean response over the images of a category.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter category: varchar, example 3 - Name of the category.
-- parameter k: integer, from 1, default 25, example 10 - How many neurons at most.
-- column rank: 1 and on: response descending, then neuron ascending
-- column neuron: number of the neuron
-- column response: mean response over the images
-- column images: images with this label
select
    row_number() over (order by c.response desc, c.neuron) as rank,
    c.neuron,
    c.response,
    c.images
from category_response as c
where c.model = $model
    and c.layer = $layer
    and c.dataset = $dataset
    and c.category_name = $category
    and c.response > 0
order by rank
limit $k
