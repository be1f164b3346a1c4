-- title: Examples across the range of a neuron
-- The images nearest to the lowest activation, to zero, to the quantiles and to the highest, in several datasets (Olah et al. 2017, "Feature Visualization"); negative activations count.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter k: integer, from 1, default 5, example 3 - How many images at each place.
-- column dataset: name of the dataset
-- column place: lowest, near_zero, q05, q25, q50, q75, q95 or highest
-- column position: number of the place, 1 to 8
-- column rank: 1..k: nearest to the place first, then image ascending
-- column image: number of the image
-- column value: activation
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
with place as (
    select
        s.dataset,
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
        and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), s.dataset))
),
nearest as (
    select
        p.dataset,
        p.place,
        p.position,
        min_by({'image': v.image, 'value': v.value}, (abs(cast(v.value as double) - p.target), v.image), $k) as examples
    from place as p
    join activation as v
        on v.dataset = p.dataset
    where v.model = $model
        and v.layer = $layer
        and v.neuron = $neuron
    group by p.dataset, p.place, p.position
),
example as (
    select
        n.dataset,
        n.place,
        n.position,
        unnest(range(1, len(n.examples) + 1)) as rank,
        unnest(n.examples) as example
    from nearest as n
)
select
    e.dataset,
    e.place,
    e.position,
    e.rank,
    e.example.image as image,
    e.example.value as value,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name
from example as e
join prediction as p
    on p.model = $model
    and p.dataset = e.dataset
    and p.image = e.example.image
order by e.dataset, e.position, e.rank
