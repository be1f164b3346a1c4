-- title: Histogram of a neuron's activations
-- How many images fall into each of equal intervals, the same ones for all datasets. The width is the smallest power of two with which all datasets together take at most `bins` intervals, but not below the widths that are kept: those with which a dataset takes at most 256 by itself, or the steps of float32. Intervals begin at multiples of the width, so that counts that were kept for each dataset by itself add up exactly.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter bins: integer, from 2, default 30, example 10 - How many intervals at most.
-- column dataset: name of the dataset
-- column bin: number of the interval, from 0 for that of the smallest activation over all datasets; empty ones have no row
-- column low: where the interval begins (included)
-- column high: where it ends (excluded)
-- column images: number of images
with kept as (
    select
        n.dataset_name as dataset,
        h.exponent,
        h.first_interval,
        h.images
    from stored_histogram as h
    join stored_named_layer as n using (recording_id, layer_id)
    where n.model_name = $model
        and n.layer_name = $layer
        and h.neuron = $neuron
),
bound as (
    select
        min(k.first_interval * pow(2, k.exponent)) as low,
        max((k.first_interval + len(k.images) - 1) * pow(2, k.exponent)) as high,
        max(k.exponent) as exponent
    from kept as k
),
common as (
    select
        pow(2, min(e.exponent)) as width,
        floor(any_value(b.low) / pow(2, min(e.exponent))) as first_interval
    from bound as b
    cross join (select unnest(range(-149, 129)) as exponent) as e
    where e.exponent >= b.exponent
        and floor(b.high / pow(2, e.exponent)) - floor(b.low / pow(2, e.exponent)) < $bins
),
counted as (
    select
        k.dataset,
        k.exponent,
        k.first_interval + unnest(range(len(k.images))) as interval,
        unnest(k.images) as images
    from kept as k
)
select
    c.dataset,
    cast(floor(c.interval * pow(2, c.exponent) / w.width) - w.first_interval as integer) as bin,
    floor(c.interval * pow(2, c.exponent) / w.width) * w.width as low,
    (floor(c.interval * pow(2, c.exponent) / w.width) + 1) * w.width as high,
    cast(sum(c.images) as bigint) as images
from counted as c
cross join common as w
where c.images > 0
group by c.dataset, bin, low, high
order by c.dataset, bin
