-- title: Neurons that lost or gained most response
-- The neurons of a layer whose largest category response fell most from the reference to a dataset, and those whose rose most, with the categories.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that it is measured against; without it the model's default reference.
-- parameter k: integer, from 1, default 10, example 10 - How many neurons of each kind at most.
-- column kind: loss or gain
-- column rank: 1 and on: by the size of the loss or gain, then neuron ascending; only losses above 0, and gains
-- column neuron: number of the neuron
-- column response_loss: largest category response in the reference less the largest in the dataset; negative for a gain
-- column reference_category: id of the category with the largest mean response in the reference
-- column reference_category_name: its name
-- column reference_response: that mean response
-- column category: id of the category with the largest mean response in the dataset
-- column category_name: its name
-- column response: that mean response
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
response as (
    select
        q.is_reference,
        q.is_dataset,
        q.category_list_id,
        s.neuron,
        s.category,
        s.response_sum / s.images / x.max as response
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
),
strongest as (
    select
        r.neuron,
        any_value(r.category_list_id) as category_list_id,
        max(r.response) filter (where r.is_reference) as reference_response,
        max(r.response) filter (where r.is_dataset) as response,
        arg_max(r.category, (r.response, -r.category)) filter (where r.is_reference) as reference_category,
        arg_max(r.category, (r.response, -r.category)) filter (where r.is_dataset) as category
    from response as r
    group by r.neuron
),
ranked as (
    select
        s.*,
        s.reference_response - s.response as response_loss,
        case when s.reference_response > s.response then 'loss' else 'gain' end as kind,
        row_number() over (partition by s.reference_response > s.response order by abs(s.reference_response - s.response) desc, s.neuron) as rank
    from strongest as s
    where s.reference_response != s.response
    qualify rank <= $k
)
select
    k.kind,
    k.rank,
    k.neuron,
    k.response_loss,
    k.reference_category,
    e.name as reference_category_name,
    k.reference_response,
    k.category,
    c.name as category_name,
    k.response
from ranked as k
join stored_category as e
    on e.category_list_id = k.category_list_id
    and e.category = k.reference_category
join stored_category as c
    on c.category_list_id = k.category_list_id
    and c.category = k.category
order by k.kind desc, k.rank
