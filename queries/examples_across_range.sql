-- title: Examples across the range of a neuron
-- Images at the lowest, near zero, at the quantiles and at the highest activation (Olah et al. 2017, "Feature Visualization"); negative activations count.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter k: integer, from 1, default 5, example 3 - How many images at each place.
-- column place: lowest, near_zero, q05, q25, q50, q75, q95 or highest
-- column rank: 1..k: nearest to the place first, then image ascending
-- column image: number of the image
-- column value: activation
with value as (
    select
        a.image,
        cast(a.value as double) as value
    from activation as a
    where a.model = $model
        and a.layer = $layer
        and a.neuron = $neuron
        and a.dataset = $dataset
),
place as (
    select
        p.place,
        p.position,
        p.target
    from neuron_summary as s
    cross join lateral (
        values
            ('lowest', 1, cast(s.min as double)),
            ('near_zero', 2, 0),
            ('q05', 3, s.q05),
            ('q25', 4, s.q25),
            ('q50', 5, s.q50),
            ('q75', 6, s.q75),
            ('q95', 7, s.q95),
            ('highest', 8, cast(s.max as double))
    ) as p (place, position, target)
    where s.model = $model
        and s.layer = $layer
        and s.neuron = $neuron
        and s.dataset = $dataset
)
select
    t.place,
    t.rank,
    t.image,
    t.value
from (
    select
        p.place,
        p.position,
        row_number() over (partition by p.place order by abs(v.value - p.target), v.image) as rank,
        v.image,
        v.value
    from place as p
    cross join value as v
) as t
where t.rank <= $k
order by t.position, t.rank
