-- title: Examples across the range of a neuron
-- The images nearest to the lowest activation, to zero, to the quantiles and to the highest, in several datasets (Olah et al. 2017, "Feature Visualization"); negative activations count. Five at each place are kept with a recording; more are chosen from the activations.
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
with recorded as materialized (
    select
        n.recording_id,
        n.layer_id,
        n.dataset_name as dataset
    from stored_named_layer as n
    where n.model_name = $model
        and n.layer_name = $layer
        and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), n.dataset_name))
),
place as (
    select
        s.recording_id,
        s.layer_id,
        p.place,
        p.target
    from stored_neuron_summary as s
    join recorded using (recording_id, layer_id)
    cross join lateral (
        values
            (1, cast(s.min as double)),
            (2, 0),
            (3, s.q05),
            (4, s.q25),
            (5, s.q50),
            (6, s.q75),
            (7, s.q95),
            (8, cast(s.max as double))
    ) as p (place, target)
    where s.neuron = $neuron
        and $k > 5
),
nearest as (
    select
        p.recording_id,
        p.place,
        min_by({'image': v.image, 'value': v.value}, (abs(cast(v.value as double) - p.target), v.image), $k) as examples
    from place as p
    join stored_value as v using (recording_id, layer_id)
    where v.neuron = $neuron
        and $k > 5
    group by p.recording_id, p.place
),
example as materialized (
    select
        e.recording_id,
        e.place,
        e.rank,
        e.image,
        e.value
    from stored_example as e
    join recorded using (recording_id, layer_id)
    where e.neuron = $neuron
        and e.rank <= $k
        and $k <= 5
    union all
    select
        n.recording_id,
        n.place,
        unnest(range(1, len(n.examples) + 1)),
        unnest(n.examples, recursive := true)
    from nearest as n
)
select
    r.dataset,
    (['lowest', 'near_zero', 'q05', 'q25', 'q50', 'q75', 'q95', 'highest'])[e.place] as place,
    e.place as position,
    e.rank,
    e.image,
    e.value,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name
from example as e
join recorded as r using (recording_id)
join (
    select *
    from stored_prediction
    where image in (select image from example)  -- lets the other images be skipped
) as p
    on p.recording_id = e.recording_id
    and p.image = e.image
order by r.dataset, e.place, e.rank
