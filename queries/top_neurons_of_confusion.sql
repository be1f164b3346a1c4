-- title: Top neurons of a confusion
-- The neurons of a layer with the largest mean response over the images of category a predicted as b, and over those of b predicted as a: each dataset's own neurons, or those of one dataset (the lead) with their responses in all. Without b: the false negatives and the false positives of a.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter a: varchar, example 3 - Name of one category.
-- parameter b: varchar, default null, example 5 - Name of the other category; without it any other.
-- parameter direction: varchar, one of both|a_as_b|b_as_a, default both, example a_as_b - both, a_as_b (label a, predicted b) or b_as_a.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter lead: varchar, default null, example Permuted - Name of the dataset that gives the neurons and their order; without it each dataset gives its own.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- parameter most: integer, default 1000000, example 100 - How many images of a dataset and direction at most, the most confident; the mean is over these.
-- parameter k: integer, from 1, default 8, example 10 - How many neurons of a dataset and direction at most.
-- column direction: a_as_b (label a, predicted b) or b_as_a
-- column dataset: name of the dataset
-- column rank: 1 and on: response in the lead, or in the dataset, descending, then neuron ascending; positive responses only
-- column neuron: number of the neuron
-- column response: mean response over those images
-- column images: how many those are
with recorded as materialized (
    select
        l.layer_id,
        d.name as dataset,
        r.dataset_id,
        r.recording_id,
        d.name = coalesce($reference, (select e.name from stored_dataset as e where e.dataset_id = m.reference_dataset_id)) as is_reference,
        $datasets is null or list_contains(from_json($datasets, '["varchar"]'), d.name) as is_asked,
        a.category as a,
        b.category as b
    from stored_model as m
    join stored_layer as l on l.model_id = m.model_id
    join stored_recording as r on r.model_id = m.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    join stored_category as a
        on a.category_list_id = m.category_list_id
        and a.name = $a
    left join stored_category as b
        on b.category_list_id = m.category_list_id
        and b.name = $b
    where m.name = $model
        and l.name = $layer
),
mistake as materialized (
    select
        q.recording_id,
        q.layer_id,
        p.image,
        i.label = q.a as is_a_as_b,
        row_number() over (partition by q.recording_id, i.label = q.a order by p.confidence desc nulls last, p.image) as rank
    from recorded as q
    join stored_prediction as p on p.recording_id = q.recording_id
    join stored_image as i
        on i.dataset_id = q.dataset_id
        and i.image = p.image
        and i.label != p.predicted
    where q.is_asked
        and (
            (i.label = q.a and ($b is null or p.predicted = q.b) and $direction in ('both', 'a_as_b'))
            or (p.predicted = q.a and ($b is null or i.label = q.b) and $direction in ('both', 'b_as_a'))
        )
    qualify rank <= $most
),
counted as materialized (
    select
        w.is_a_as_b,
        w.recording_id,
        count(*) as images
    from mistake as w
    group by w.is_a_as_b, w.recording_id
),
/* A step of its own: where the columns of one join pass through another, DuckDB 2.0.0 can fail ("dict-surviving cache"). */
piece as materialized (
    select
        a.recording_id,
        a.image,
        a.piece,
        a.values
    from stored_image_activation as a
    where a.image in (select image from mistake)
        and (a.recording_id, a.layer_id) in (select (recording_id, layer_id) from mistake)
),
activation as materialized (
    select
        w.is_a_as_b,
        w.recording_id,
        a.piece * 16 + e.element as neuron,
        a.values[e.element + 1] as value
    from mistake as w
    join piece as a
        on a.recording_id = w.recording_id
        and a.image = w.image
    cross join (select cast(range as integer) as element from range(16)) as e
    where a.values[e.element + 1] > 0
),
neuron as materialized (
    select
        q.recording_id,
        s.neuron,
        pow(2, 90 - floor(log2(s.max))) as scale,
        cast(x.max as double) as maximum
    from recorded as q
    join stored_neuron_summary as s
        on s.recording_id = q.recording_id
        and s.layer_id = q.layer_id
    join stored_neuron_summary as x
        on x.neuron = s.neuron
        and x.layer_id = s.layer_id
        and x.recording_id = (select r.recording_id from recorded as r where r.is_reference)
    where q.is_asked
        and s.max > 0
        and x.max > 0
),
/* Sums are exact, in whole units of 2**-90 or so of the neuron's maximum, as in the macro top_neurons_of. */
response as materialized (
    select
        a.is_a_as_b,
        a.recording_id,
        a.neuron,
        cast(sum(cast(a.value * n.scale as hugeint)) as double) / any_value(n.scale) / any_value(n.maximum) as response
    from activation as a
    join neuron as n
        on n.recording_id = a.recording_id
        and n.neuron = a.neuron
    group by a.is_a_as_b, a.recording_id, a.neuron
),
ranked as (
    select
        r.is_a_as_b,
        r.recording_id,
        r.neuron,
        row_number() over (partition by r.is_a_as_b, r.recording_id order by r.response / c.images desc, r.neuron) as rank
    from response as r
    join counted as c using (is_a_as_b, recording_id)
    where $lead is null
        or r.recording_id = (select q.recording_id from recorded as q where q.dataset = $lead)
    qualify rank <= $k
)
select
    case when k.is_a_as_b then 'a_as_b' else 'b_as_a' end as direction,
    q.dataset,
    k.rank,
    k.neuron,
    coalesce(r.response, 0) / c.images as response,
    c.images
from ranked as k
join counted as c
    on c.is_a_as_b = k.is_a_as_b
    and (c.recording_id = k.recording_id or $lead is not null)
join recorded as q on q.recording_id = c.recording_id
left join response as r
    on r.is_a_as_b = k.is_a_as_b
    and r.recording_id = c.recording_id
    and r.neuron = k.neuron
order by direction, q.dataset, k.rank
