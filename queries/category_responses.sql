-- title: Category responses of a neuron
-- Mean response of a neuron to each category, in the reference and in another dataset.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- column category: category id
-- column category_name: name of the category
-- column reference_response: mean response in the model's default reference
-- column response: mean response in the dataset
-- column reference_images: images behind the reference's mean
-- column images: images behind the dataset's mean
select
    c.category,
    any_value(c.category_name) as category_name,
    max(c.response) filter (where c.dataset = m.reference) as reference_response,
    max(c.response) filter (where c.dataset = $dataset) as response,
    max(c.images) filter (where c.dataset = m.reference) as reference_images,
    max(c.images) filter (where c.dataset = $dataset) as images
from category_response as c
join model as m on m.model = c.model
where c.model = $model
    and c.layer = $layer
    and c.neuron = $neuron
    and c.dataset in (m.reference, $dataset)
group by c.category
order by reference_response desc nulls last, c.category
