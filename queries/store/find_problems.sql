-- A sentence for every count that is not what it should be.
with recording as (
    select
        r.recording_id,
        r.dataset_id,
        m.name || ' on ' || d.name as title,
        r.images,
        d.images as dataset_images
    from stored_recording as r
    join stored_model as m using (model_id)
    join stored_dataset as d using (dataset_id)
),
recorded_layer as (
    select
        r.recording_id,
        l.layer_id,
        r.title || ', layer ' || l.name as title,
        l.name,
        l.neurons,
        r.images
    from recording as r
    join stored_recorded_layer as k using (recording_id)
    join stored_layer as l using (layer_id)
),
written as (
    select
        x.recording_id,
        x.layer_id,
        a.rows
    from (select distinct recording_id, layer_id, piece from stored_neuron) as x
    join (select piece, count(*) as rows from stored_activation group by piece) as a using (piece)
),
placed as (
    select
        x.recording_id,
        x.layer_id
    from stored_neuron as x
    join stored_piece as p using (recording_id, layer_id)
    join stored_recording as r using (recording_id)
    join stored_model as m using (model_id)
    left join stored_recording as q
        on q.model_id = r.model_id
        and q.dataset_id = m.reference_dataset_id
    left join stored_neuron_summary as s
        on s.recording_id = q.recording_id
        and s.layer_id = x.layer_id
        and s.neuron = x.neuron
    where x.piece = p.first_piece + x.neuron // 64
        and x.element = x.neuron % 64 + 1
        and coalesce(x.reference_max = s.max, s.max is null)
),
counted as (
    select
        r.title,
        'predictions' as what,
        r.images as expected,
        (select count(*) from stored_prediction as p where p.recording_id = r.recording_id) as found
    from recording as r
    union all
    select
        r.title,
        'images of the dataset',
        r.images,
        r.dataset_images
    from recording as r
    union all
    select
        r.title,
        'rows of images',
        r.images,
        (select count(*) from stored_image as i where i.dataset_id = r.dataset_id)
    from recording as r
    union all
    select
        r.title,
        'different images',
        r.images,
        (select count(distinct i.image) from stored_image as i where i.dataset_id = r.dataset_id)
    from recording as r
    union all
    select
        r.title,
        'labels and names beside predictions',
        r.images,
        (
            select count(*)
            from stored_prediction as p
            join stored_image as i
                on i.dataset_id = r.dataset_id
                and i.image = p.image
                and i.label is not distinct from p.label
            join stored_dataset as d on d.dataset_id = r.dataset_id
            join stored_category as b
                on b.category_list_id = d.category_list_id
                and b.category = p.predicted
                and b.name = p.predicted_name
            left join stored_category as c
                on c.category_list_id = d.category_list_id
                and c.category = p.label
            where p.recording_id = r.recording_id
                and c.name is not distinct from p.label_name
        )
    from recording as r
    union all
    select
        l.title,
        'summaries of neurons',
        l.neurons,
        (
            select count(*)
            from stored_neuron_summary as s
            where s.recording_id = l.recording_id
                and s.layer_id = l.layer_id
        )
    from recorded_layer as l
    union all
    select
        l.title,
        'rows of activations',
        l.images * (1 + (l.neurons - 1) // 64),
        (
            select coalesce(sum(w.rows), 0)
            from written as w
            where w.recording_id = l.recording_id
                and w.layer_id = l.layer_id
        )
    from recorded_layer as l
    union all
    select
        l.title,
        'neurons with their place and their maximum in the reference',
        l.neurons,
        (
            select count(*)
            from placed as x
            where x.recording_id = l.recording_id
                and x.layer_id = l.layer_id
        )
    from recorded_layer as l
    union all
    select
        l.title,
        'top images with their labels and predictions',
        (
            select count(*)
            from stored_top_image as t
            where t.recording_id = l.recording_id
                and t.layer_id = l.layer_id
        ),
        (
            select count(*)
            from stored_top_image as t
            join stored_prediction as p
                on p.recording_id = t.recording_id
                and p.image = t.image
                and p.label is not distinct from t.label
                and p.label_name is not distinct from t.label_name
                and p.predicted is not distinct from t.predicted
                and p.predicted_name is not distinct from t.predicted_name
            where t.recording_id = l.recording_id
                and t.layer_id = l.layer_id
        )
    from recorded_layer as l
    union all
    select
        l.title,
        'rows of neurons',
        l.neurons,
        (
            select count(*)
            from stored_neuron as x
            where x.recording_id = l.recording_id
                and x.layer_id = l.layer_id
        )
    from recorded_layer as l
)
select title || ': ' || found || ' ' || what || ' instead of ' || expected || '.'
from (
    from counted
    union all
    select
        title,
        'rows of its name',
        1,
        (
            select count(*)
            from stored_named_recording as n
            join stored_model as m
                on m.model_id = n.model_id
                and m.name = n.model_name
            join stored_dataset as d
                on d.dataset_id = n.dataset_id
                and d.name = n.dataset_name
            where n.recording_id = r.recording_id
        )
    from recording as r
    union all
    select
        l.title,
        'rows of its name',
        1,
        (
            select count(*)
            from stored_named_layer as n
            where n.recording_id = l.recording_id
                and n.layer_id = l.layer_id
                and n.layer_name = l.name
                and n.neurons = l.neurons
        )
    from recorded_layer as l
)
where found != expected
union all
select 'rows of ' || t.what || ' belong to no recording: ' || t.count || '.'
from (
    select 'stored_activation' as what, count(*) as count
    from stored_activation
    where piece not in (select x.piece from stored_neuron as x join stored_recording using (recording_id))
    union all
    select 'stored_piece', count(*)
    from stored_piece
    where recording_id not in (select recording_id from stored_recording)
    union all
    select 'stored_prediction', count(*)
    from stored_prediction
    where recording_id not in (select recording_id from stored_recording)
    union all
    select 'stored_image', count(*)
    from stored_image
    where dataset_id not in (select dataset_id from stored_recording)
) as t
where t.count > 0
union all
select 'run ' || run || ': stands with ' || coalesce('model ' || n.model_name || ' (by ' || n.matched_by || ')', 'no model')
    || ', and belongs to ' || coalesce(m.model || ' (by ' || m.matched_by || ')', 'none') || '.'
from stored_named_run as n
full join stored_matched_run as m using (run)
where n.model_name is distinct from m.model
    or n.matched_by is distinct from m.matched_by
union all
select 'run ' || n.run || ': stands with ' || count(*) || ' models.'
from stored_named_run as n
group by n.run
having count(*) > 1
union all
select 'run ' || run || ': stands ' || count(*) || ' times.'
from stored_experiment
group by run
having count(*) > 1
union all
select 'rows of ' || t.what || ' belong to no run: ' || count(*) || '.'
from (
    select 'stored_experiment_param' as what, run
    from stored_experiment_param
    union all
    select 'stored_experiment_metric', run
    from stored_experiment_metric
    union all
    select 'stored_experiment_tag', run
    from stored_experiment_tag
) as t
where t.run not in (select run from stored_experiment)
group by t.what
order by 1
