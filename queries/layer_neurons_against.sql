-- title: All neurons of a layer, against any reference
-- Every neuron with its scores on a dataset against a reference of your choice, computed now; and the category that it fires for most in each.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter reference: varchar, example Drifted - Name of the dataset that the scores are measured against.
-- column neuron: number of the neuron
-- column spurious: 1 - |Spearman's correlation of the category responses|, 0..1
-- column novelty: the response loss where it is positive
-- column response_loss: largest category response in the reference less the largest in the dataset
-- column activation_ratio: largest response divided by the largest in the reference
-- column reason: why spurious is NULL: silent_in_reference, constant, few_categories or not_in_reference
-- column fewest_images: smallest number of images behind any shared category
-- column reference_category: id of the category with the largest mean response in the reference
-- column reference_category_name: its name
-- column reference_response: that mean response, divided by the largest response in the default reference
-- column category: id of the category with the largest mean response in the dataset
-- column category_name: its name
-- column response: that mean response, divided by the largest response in the default reference
-- column max: largest activation in the dataset
-- column mean: mean activation in the dataset
-- column share_positive: share of the dataset's images with a positive activation, 0..1
with strongest as (
    select
        c.dataset,
        c.neuron,
        max_by(c.category, (c.response, -c.category)) as category,
        max_by(c.category_name, (c.response, -c.category)) as category_name,
        max(c.response) as response
    from category_response as c
    where c.model = $model
        and c.layer = $layer
        and c.response > 0
        and c.dataset in ($dataset, $reference)
    group by c.dataset, c.neuron
)
select
    s.neuron,
    s.spurious,
    s.novelty,
    s.response_loss,
    s.activation_ratio,
    s.reason,
    s.fewest_images,
    q.category as reference_category,
    q.category_name as reference_category_name,
    q.response as reference_response,
    d.category,
    d.category_name,
    d.response,
    n.max,
    n.mean,
    n.share_positive
from scores($model, $layer, $dataset, $reference) as s
join neuron_summary as n
    on n.model = $model
    and n.layer = $layer
    and n.dataset = $dataset
    and n.neuron = s.neuron
left join strongest as q
    on q.neuron = s.neuron
    and q.dataset = $reference
left join strongest as d
    on d.neuron = s.neuron
    and d.dataset = $dataset
order by s.neuron
