-- title: Category responses of a neuron
-- Mean response of a neuron to the images of each category, in several datasets, against any reference. A category without images has no row.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- column dataset: name of the dataset
-- column category: category id
-- column category_name: name of the category
-- column images: images behind the mean
-- column response: mean of max(activation, 0), divided by the largest response in the reference; NULL when the neuron is silent there
with layer_of_model as (
    select
        l.layer_id,
        m.model_id,
        m.category_list_id,
        m.reference_dataset_id
    from stored_layer as l
    join stored_model as m using (model_id)
    where m.name = $model
        and l.name = $layer
),
recording_of_model as (
    select
        r.recording_id,
        d.name as dataset,
        case
            when $reference is null then d.dataset_id = l.reference_dataset_id
            else d.name = $reference
        end as is_reference
    from stored_recording as r
    join layer_of_model as l using (model_id)
    join stored_dataset as d using (dataset_id)
),
reference_maximum_of_neuron as (
    select nullif(cast(greatest(any_value(s.max), 0) as double), 0) as maximum
    from stored_neuron_summary as s
    join layer_of_model as l using (layer_id)
    join recording_of_model as r using (recording_id)
    where s.neuron = $neuron
        and r.is_reference
)
select
    r.dataset,
    s.category,
    c.name as category_name,
    s.images,
    s.response_sum / s.images / x.maximum as response
from stored_category_response as s
join layer_of_model as l using (layer_id)
join recording_of_model as r using (recording_id)
join stored_category as c
    on c.category_list_id = l.category_list_id
    and c.category = s.category
cross join reference_maximum_of_neuron as x
where s.neuron = $neuron
    and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), r.dataset))
order by r.dataset, s.category
