-- A sentence for every layer whose summaries, top images or category responses are not those of its activations.
with computed as (
    select
        recording_id,
        layer_id,
        neuron,
        count(*) as images,
        min(value) as min,
        max(value) as max,
        avg(cast(value as double)) as mean,
        count(*) filter (where value > 0) as positive
    from stored_value
    group by recording_id, layer_id, neuron
),
top as (
    select
        t.recording_id,
        t.layer_id,
        t.neuron,
        count(*) as images,
        count(*) filter (where a.value = t.value) as right
    from stored_top_image as t
    left join stored_value as a
        on a.recording_id = t.recording_id
        and a.layer_id = t.layer_id
        and a.neuron = t.neuron
        and a.image = t.image
    group by t.recording_id, t.layer_id, t.neuron
),
summed as (
    select
        a.recording_id,
        a.layer_id,
        a.neuron,
        i.label as category,
        count(*) as images,
        sum(positive_part(cast(a.value as double))) as response_sum
    from stored_value as a
    join stored_recording as r using (recording_id)
    join stored_image as i
        on i.dataset_id = r.dataset_id
        and i.image = a.image
    where i.label is not null
    group by a.recording_id, a.layer_id, a.neuron, i.label
),
strongest as (
    select
        recording_id,
        layer_id,
        neuron,
        max_by(category, (response_sum / images, -category)) as category
    from stored_category_response
    group by recording_id, layer_id, neuron
),
wrong as (
    select
        c.recording_id,
        c.layer_id,
        'the summary' as what,
        c.neuron
    from computed as c
    left join stored_neuron_summary as s
        on s.recording_id = c.recording_id
        and s.layer_id = c.layer_id
        and s.neuron = c.neuron
    where s.images is distinct from c.images
        or s.min is distinct from c.min
        or s.max is distinct from c.max
        or abs(s.mean - c.mean) > 1e-6 * greatest(1, abs(c.min), abs(c.max))
    union all
    select
        c.recording_id,
        c.layer_id,
        'the top images',
        c.neuron
    from computed as c
    left join top as t
        on t.recording_id = c.recording_id
        and t.layer_id = c.layer_id
        and t.neuron = c.neuron
    where coalesce(t.right, 0) != least(100, c.positive)
        or coalesce(t.images, 0) != least(100, c.positive)
    union all
    select
        coalesce(m.recording_id, s.recording_id),
        coalesce(m.layer_id, s.layer_id),
        'the category responses',
        coalesce(m.neuron, s.neuron)
    from summed as m
    full join stored_category_response as s
        on s.recording_id = m.recording_id
        and s.layer_id = m.layer_id
        and s.neuron = m.neuron
        and s.category = m.category
    where s.images is distinct from m.images
        or abs(s.response_sum - m.response_sum) > 1e-6 * greatest(1, m.response_sum)
    union all
    select
        coalesce(m.recording_id, s.recording_id),
        coalesce(m.layer_id, s.layer_id),
        'the strongest categories',
        coalesce(m.neuron, s.neuron)
    from strongest as m
    full join stored_strongest_category as s
        on s.recording_id = m.recording_id
        and s.layer_id = m.layer_id
        and s.neuron = m.neuron
    where s.category is distinct from m.category
)
select
    m.name || ' on ' || d.name || ', layer ' || l.name || ': ' || w.what || ' of ' || count(distinct w.neuron)
        || ' neurons are not those of the activations, first of neuron ' || min(w.neuron) || '.'
from wrong as w
join stored_recording as r using (recording_id)
join stored_layer as l using (layer_id)
join stored_model as m on m.model_id = r.model_id
join stored_dataset as d on d.dataset_id = r.dataset_id
group by m.name, d.name, l.name, w.what
order by 1
