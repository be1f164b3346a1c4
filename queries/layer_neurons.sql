-- title: All neurons of a layer
-- Every neuron with its scores on a dataset against a reference, and the category that it fires for most in each; those without a score too, with the reason. Scores against another reference than the default are computed now.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that scores and responses are measured against; without it the model's default reference.
-- column neuron: number of the neuron
-- column spurious: 1 - |Spearman's correlation of the category responses|, 0..1
-- column novelty: the response loss where it is positive
-- column response_loss: largest category response in the reference less the largest in the dataset
-- column activation_ratio: largest response divided by the largest in the reference
-- column reason: why spurious is NULL: silent_in_reference, constant, few_categories or not_in_reference
-- column fewest_images: smallest number of images behind any shared category
-- column reference_category: id of the category with the largest mean response in the reference
-- column reference_category_name: its name
-- column reference_response: that mean response, divided by the largest response in the reference
-- column category: id of the category with the largest mean response in the dataset
-- column category_name: its name
-- column response: that mean response, divided by the largest response in the reference
-- column max: largest activation in the dataset
-- column mean: mean activation in the dataset
-- column share_positive: share of the dataset's images with a positive activation, 0..1
with recorded as materialized (
    select
        m.category_list_id,
        l.layer_id,
        r.recording_id,
        d.name = coalesce($reference, (select e.name from stored_dataset as e where e.dataset_id = m.reference_dataset_id)) as is_reference,
        d.name = $dataset as is_dataset
    from stored_model as m
    join stored_layer as l on l.model_id = m.model_id
    join stored_recording as r on r.model_id = m.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    where m.name = $model
        and l.name = $layer
),
score as (
    select
        s.neuron,
        s.spurious,
        s.novelty,
        s.response_loss,
        s.activation_ratio,
        s.reason,
        s.fewest_images
    from neuron_score as s
    where s.model = $model
        and s.layer = $layer
        and s.dataset = $dataset
        and $reference is null
    union all
    select
        s.neuron,
        s.spurious,
        s.novelty,
        s.response_loss,
        s.activation_ratio,
        s.reason,
        s.fewest_images
    from scores($model, $layer, $dataset, $reference) as s
    where $reference is not null
),
response as (
    select
        q.is_reference,
        q.is_dataset,
        s.neuron,
        s.category,
        s.response_sum / (s.images * cast(x.max as double)) as response
    from stored_category_response as s
    join recorded as q
        on q.recording_id = s.recording_id
        and q.layer_id = s.layer_id
        and (q.is_reference or q.is_dataset)
    join stored_neuron_summary as x on x.neuron = s.neuron
    join recorded as b
        on b.recording_id = x.recording_id
        and b.layer_id = x.layer_id
        and b.is_reference
    where x.max > 0
        and s.response_sum > 0
),
strongest as (
    select
        r.neuron,
        max(r.response) filter (where r.is_reference) as reference_response,
        max(r.response) filter (where r.is_dataset) as response,
        arg_max(r.category, (r.response, -r.category)) filter (where r.is_reference) as reference_category,
        arg_max(r.category, (r.response, -r.category)) filter (where r.is_dataset) as category
    from response as r
    group by r.neuron
)
select
    s.neuron,
    s.spurious,
    s.novelty,
    s.response_loss,
    s.activation_ratio,
    s.reason,
    s.fewest_images,
    k.reference_category,
    b.name as reference_category_name,
    k.reference_response,
    k.category,
    c.name as category_name,
    k.response,
    n.max,
    n.mean,
    n.share_positive
from score as s
join stored_neuron_summary as n on n.neuron = s.neuron
join recorded as q
    on q.recording_id = n.recording_id
    and q.layer_id = n.layer_id
    and q.is_dataset
left join strongest as k on k.neuron = s.neuron
left join stored_category as b
    on b.category_list_id = q.category_list_id
    and b.category = k.reference_category
left join stored_category as c
    on c.category_list_id = q.category_list_id
    and c.category = k.category
order by s.neuron
