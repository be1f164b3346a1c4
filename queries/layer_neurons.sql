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
    select *
    from recorded_layers($model, $layer, $reference)
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
strongest as (
    select
        q.dataset,
        q.is_reference,
        s.neuron,
        s.category,
        c.name as category_name,
        s.response_sum / (s.images * cast(x.max as double)) as response
    from stored_strongest_category as s
    join recorded as q using (recording_id, layer_id)
    join stored_category as c
        on c.category_list_id = q.category_list_id
        and c.category = s.category
    join stored_neuron_summary as x
        on x.recording_id = (select b.recording_id from recorded as b where b.is_reference)
        and x.layer_id = s.layer_id
        and x.neuron = s.neuron
    where x.max > 0
        and s.response_sum > 0
)
select
    s.neuron,
    s.spurious,
    s.novelty,
    s.response_loss,
    s.activation_ratio,
    s.reason,
    s.fewest_images,
    b.category as reference_category,
    b.category_name as reference_category_name,
    b.response as reference_response,
    k.category,
    k.category_name,
    k.response,
    n.max,
    n.mean,
    n.share_positive
from score as s
join stored_neuron_summary as n on n.neuron = s.neuron
join recorded as q
    on q.recording_id = n.recording_id
    and q.layer_id = n.layer_id
    and q.dataset = $dataset
left join strongest as b
    on b.neuron = s.neuron
    and b.is_reference
left join strongest as k
    on k.neuron = s.neuron
    and k.dataset = $dataset
order by s.neuron
