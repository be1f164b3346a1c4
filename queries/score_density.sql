-- title: Density of a score over a layer
-- Gaussian kernel density of a score over the neurons of a layer, Scott's rule, reflected at 0 and 1 so that no mass falls outside; for every dataset but the reference. The mode is the highest point. Scores that are all equal have no density.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter score: varchar, one of spurious|novelty, default spurious, example novelty - spurious or novelty.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that the scores are measured against; without it the model's default reference.
-- parameter points: integer, from 2, default 201, example 11 - How many points from 0 to 1.
-- column dataset: name of the dataset
-- column position: place on the score's axis, 0..1
-- column density: density there; its integral over 0..1 is 1
-- column is_mode: whether this is the highest point, the first of equals
with recorded as materialized (
    select *
    from recorded_layers($model, $layer, $reference)
    where $reference is not null
),
scored as (
    select
        s.dataset,
        s.neuron,
        s.novelty,
        s.spurious
    from neuron_score as s
    where s.model = $model
        and s.layer = $layer
        and $reference is null
    union all
    select
        q.dataset,
        s.neuron,
        s.novelty,
        s.spurious
    from recorded as q
    cross join lateral (select * from score_rows(q.recording_id, (select r.recording_id from recorded as r where r.is_reference))) as s
    where not q.is_reference
        and s.layer_id = q.layer_id
),
score as (
    select
        s.dataset,
        s.neuron,
        case when $score = 'novelty' then s.novelty else s.spurious end as value
    from scored as s
),
kernel as (
    select
        s.dataset,
        count(*) as neurons,
        stddev_samp(s.value order by s.neuron) * pow(count(*), -0.2) as bandwidth
    from score as s
    where s.value is not null
    group by s.dataset
    having count(*) > 1
),
point as (
    select i / cast($points - 1 as double) as position
    from range($points) as r (i)
),
-- A score and its mirror images: at 0, at 1, and again behind those, as far as the widest kernel reaches. Those further than
-- 9 bandwidths from 0..1 add less than 1e-17 of a kernel.
mirrored as materialized (
    select
        s.dataset,
        k.neurons,
        k.bandwidth,
        2 * m.shift + m.sign * s.value as value
    from score as s
    join kernel as k
        on k.dataset = s.dataset
        and k.bandwidth > 0
    cross join (
        select
            h.shift,
            g.sign
        from range(-2, 3) as h (shift)
        cross join (values (1), (-1)) as g (sign)
    ) as m
    where 2 * m.shift + m.sign * s.value between -9 * k.bandwidth and 1 + 9 * k.bandwidth
),
-- Kernels are added as whole numbers, in units of 1e-18, so that their order doesn't matter.
density as (
    select
        s.dataset,
        p.position,
        cast(sum(cast(1e18 * exp(-0.5 * pow((p.position - s.value) / s.bandwidth, 2)) as bigint)) as double) / 1e18
            / (any_value(s.neurons) * any_value(s.bandwidth) * sqrt(2 * pi())) as density
    from mirrored as s
    cross join point as p
    group by s.dataset, p.position
)
select
    d.dataset,
    d.position,
    d.density,
    row_number() over (partition by d.dataset order by d.density desc, d.position) = 1 as is_mode
from density as d
order by d.dataset, d.position
