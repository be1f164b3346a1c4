-- title: Top images of a neuron in every dataset
-- The images of each dataset that activate a neuron most, positive activations only, against any reference.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter reference: varchar, default null, example Permuted - Name of the dataset that responses are measured against; the model's default reference when NULL.
-- parameter k: integer, from 1, default 20, example 10 - How many images of each dataset, at most 100.
-- column dataset: name of the dataset
-- column rank: 1 and on: activation descending, then image ascending
-- column image: number of the image
-- column value: activation
-- column response: activation divided by the largest in the reference; NULL when the neuron is silent there
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
select
    t.dataset,
    t.rank,
    t.image,
    t.value,
    case
        when $reference is null then t.response
        else t.value / (
            select nullif(cast(greatest(s.max, 0) as double), 0)
            from neuron_summary as s
            where s.model = $model
                and s.layer = $layer
                and s.neuron = $neuron
                and s.dataset = $reference
        )
    end as response,
    t.label,
    t.label_name,
    t.predicted,
    t.predicted_name
from top_image as t
where t.model = $model
    and t.layer = $layer
    and t.neuron = $neuron
    and t.rank <= $k
order by t.dataset, t.rank
