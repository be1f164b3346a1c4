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
        r.*,
        $datasets is null or list_contains(from_json($datasets, '["varchar"]'), r.dataset) as is_asked
    from recorded_layers($model, $layer, $reference) as r
),
/* Activations are added as whole numbers, in units of 2**-90 or so of a recording's largest: their sum is exact. */
unit as materialized (
    select
        s.recording_id,
        pow(2, 90 - floor(log2(max(s.max)))) as scale
    from stored_neuron_summary as s
    join recorded as q using (recording_id, layer_id)
    where q.is_asked
        and s.max > 0
    group by s.recording_id
),
mistake as materialized (
    select
        w.is_a_as_b,
        w.recording_id,
        w.image,
        u.scale,
        row_number() over (partition by w.recording_id, w.is_a_as_b order by w.confidence desc nulls last, w.image) as rank
    from (
        select
            true as is_a_as_b,
            p.recording_id,
            p.image,
            p.confidence
        from stored_prediction as p
        where p.label_name = $a
            and p.label != p.predicted
            and ($b is null or p.predicted_name = $b)
            and $direction in ('both', 'a_as_b')
        union all
        select
            false,
            p.recording_id,
            p.image,
            p.confidence
        from stored_prediction as p
        where p.predicted_name = $a
            and p.label != p.predicted
            and ($b is null or p.label_name = $b)
            and $direction in ('both', 'b_as_a')
    ) as w
    left join unit as u using (recording_id)
    where w.recording_id in (select q.recording_id from recorded as q where q.is_asked)
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
place as materialized (
    select
        x.piece,
        x.recording_id,
        x.neuron
    from stored_neuron as x
    join recorded as q using (recording_id, layer_id)
    where x.element = 1
        and x.recording_id in (select recording_id from mistake)
),
/* Rows are found by their numbers first: conditions on image and piece would read the mistaken images of all datasets in each. */
wanted as materialized (
    select
        a.rowid as number,
        x.neuron,
        w.is_a_as_b,
        w.recording_id,
        w.scale
    from stored_activation as a
    join place as x using (piece)
    join mistake as w
        on w.recording_id = x.recording_id
        and w.image = a.image
    where a.image in (select image from mistake)
),
/* A step of its own: where the columns of one join pass through another, DuckDB 2.0.0 can fail ("dict-surviving cache"). */
piece as materialized (
    select
        a.rowid as number,
        cast(a.values as float[]) as values
    from stored_activation as a
    where a.rowid in (select number from wanted)
),
positive as (
    select
        w.is_a_as_b,
        w.recording_id,
        w.scale,
        w.neuron + unnest(range(64)) as neuron,
        unnest(a.values) as value
    from piece as a
    join wanted as w using (number)
),
total as (
    select
        p.is_a_as_b,
        p.recording_id,
        p.neuron,
        any_value(p.scale) as scale,
        sum(cast(p.value * p.scale as hugeint)) as total
    from positive as p
    where p.value > 0
    group by p.is_a_as_b, p.recording_id, p.neuron
),
response as materialized (
    select
        t.is_a_as_b,
        t.recording_id,
        t.neuron,
        cast(t.total as double) / t.scale / x.max as response
    from total as t
    join stored_neuron_summary as x on x.neuron = t.neuron
    join recorded as q
        on q.recording_id = x.recording_id
        and q.layer_id = x.layer_id
        and q.is_reference
    where x.max > 0
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
