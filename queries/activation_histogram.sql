-- title: Histogram of a neuron's activations
-- How many images fall into each of equal intervals, from the smallest to the largest activation over all datasets, so that datasets can be compared.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter bins: integer, from 1, default 30, example 10 - How many intervals.
-- column dataset: name of the dataset
-- column bin: number of the interval, from 0; empty ones have no row
-- column low: where the interval begins (included)
-- column high: where it ends (excluded, but for the last)
-- column images: number of images
with bound as (
    select
        min(cast(s.min as double)) as low,
        max(cast(s.max as double)) as high
    from neuron_summary as s
    where s.model = $model
        and s.layer = $layer
        and s.neuron = $neuron
),
binned as (
    select
        a.dataset,
        case
            when b.high = b.low then 0
            else cast(least(floor((a.value - b.low) / (b.high - b.low) * $bins), $bins - 1) as integer)
        end as bin,
        count(*) as images
    from activation as a
    cross join bound as b
    where a.model = $model
        and a.layer = $layer
        and a.neuron = $neuron
    group by 1, 2
)
select
    n.dataset,
    n.bin,
    b.low + n.bin * (b.high - b.low) / $bins as low,
    b.low + (n.bin + 1) * (b.high - b.low) / $bins as high,
    n.images
from binned as n
cross join bound as b
order by n.dataset, n.bin
