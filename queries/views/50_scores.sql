-- title: Scores of neurons
-- Activation ratio, response loss, novelty and spurious score of every neuron of a recording against a reference
-- (Sarkar et al., "Deephys", sections 2.2, 4.4 and 4.5). Ranks are doubled, so that average ranks are integers and
-- Spearman's correlation comes from exact sums, whatever their order; the mean of doubled ranks is always the count plus 1.
-- `deephys_sql/scores.py` computes the same in array code, when a recording is committed.

create macro score_rows(recording, reference) as table
with neuron as (
    select
        s.layer_id,
        s.neuron,
        cast(greatest(s.max, 0) as double) as maximum,
        case when q.max is not null then cast(greatest(q.max, 0) as double) end as reference_maximum
    from stored_neuron_summary as s
    left join stored_neuron_summary as q
        on q.recording_id = reference
        and q.layer_id = s.layer_id
        and q.neuron = s.neuron
    where s.recording_id = recording
),
response as (
    select
        c.layer_id,
        c.neuron,
        c.category,
        min(c.images) as images,
        max(case when c.recording_id = recording then c.response_sum / (c.images * nullif(n.reference_maximum, 0)) end) as response,
        max(case when c.recording_id = reference then c.response_sum / (c.images * nullif(n.reference_maximum, 0)) end) as reference_response
    from stored_category_response as c
    join neuron as n
        on n.layer_id = c.layer_id
        and n.neuron = c.neuron
    where c.recording_id = recording
        or c.recording_id = reference
    group by c.layer_id, c.neuron, c.category
),
loss as (
    select
        s.layer_id,
        s.neuron,
        max(s.reference_response) - max(s.response) as response_loss
    from response as s
    group by s.layer_id, s.neuron
),
ranked as (
    select
        s.layer_id,
        s.neuron,
        s.images,
        2 * rank() over (partition by s.layer_id, s.neuron order by round(s.response, 9))
            + count(*) over (partition by s.layer_id, s.neuron, round(s.response, 9)) - 1 as rank,
        2 * rank() over (partition by s.layer_id, s.neuron order by round(s.reference_response, 9))
            + count(*) over (partition by s.layer_id, s.neuron, round(s.reference_response, 9)) - 1 as reference_rank
    from response as s
    where s.response is not null
        and s.reference_response is not null
),
correlation as (
    select
        k.layer_id,
        k.neuron,
        count(*) as categories,
        min(k.images) as fewest_images,
        cast(sum(k.rank * k.reference_rank) - count(*) * (count(*) + 1) * (count(*) + 1) as double) as covariance,
        cast(sum(k.rank * k.rank) - count(*) * (count(*) + 1) * (count(*) + 1) as double) as variance,
        cast(sum(k.reference_rank * k.reference_rank) - count(*) * (count(*) + 1) * (count(*) + 1) as double) as reference_variance
    from ranked as k
    group by k.layer_id, k.neuron
)
select
    n.layer_id,
    n.neuron,
    n.maximum / nullif(n.reference_maximum, 0) as activation_ratio,
    l.response_loss,
    case when l.response_loss > 0 then l.response_loss end as novelty,
    case
        when c.categories >= 3
        then 1 - abs(c.covariance / nullif(sqrt(c.variance * c.reference_variance), 0))
    end as spurious,
    case
        when n.reference_maximum is null then 'not_in_reference'
        when n.reference_maximum = 0 then 'silent_in_reference'
        when coalesce(c.categories, 0) < 3 then 'few_categories'
        when c.variance = 0 or c.reference_variance = 0 then 'constant'
    end as reason,
    c.fewest_images
from neuron as n
left join loss as l
    on l.layer_id = n.layer_id
    and l.neuron = n.neuron
left join correlation as c
    on c.layer_id = n.layer_id
    and c.neuron = n.neuron;
comment on macro table score_rows is 'Scores of all neurons of a recording against a reference recording, by ids: what neuron_score keeps and scores(...) computes.';

create view neuron_score as
select
    n.model_name as model,
    n.layer_name as layer,
    s.neuron,
    n.dataset_name as dataset,
    q.dataset_name as reference,
    s.activation_ratio,
    s.response_loss,
    s.novelty,
    s.spurious,
    s.reason,
    s.fewest_images
from stored_neuron_score as s
join stored_named_layer as n using (recording_id, layer_id)
join stored_named_recording as q on q.recording_id = s.reference_recording_id;
comment on view neuron_score is 'Scores of every neuron on every dataset but the reference, against the model''s default reference.';
comment on column neuron_score.model is 'Name of the model.';
comment on column neuron_score.layer is 'Name of the layer.';
comment on column neuron_score.neuron is 'Number of the neuron, from 0.';
comment on column neuron_score.dataset is 'Name of the dataset.';
comment on column neuron_score.reference is 'The dataset that it is measured against.';
comment on column neuron_score.activation_ratio is 'Largest response in the dataset divided by the largest in the reference; NULL when silent in the reference.';
comment on column neuron_score.response_loss is 'Largest category response in the reference less the largest in the dataset; negative when the dataset drives the neuron more.';
comment on column neuron_score.novelty is 'The response loss where it is positive: what the neuron looks for is missing in the dataset; NULL elsewhere.';
comment on column neuron_score.spurious is '1 - |Spearman''s correlation over the shared categories of the two category responses|, 0..1: high when the neuron fires for other categories than in the reference.';
comment on column neuron_score.reason is 'Why spurious is NULL: not_in_reference, silent_in_reference, few_categories (fewer than 3 shared) or constant.';
comment on column neuron_score.fewest_images is 'The smallest number of images behind any shared category, on either side.';
