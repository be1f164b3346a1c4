-- title: Top neurons of a category
-- The neurons of a layer with the largest mean response to the images of a category: each dataset's own, or those of one dataset (the lead) with their responses in all.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter category: varchar, example 3 - Name of the category.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter lead: varchar, default null, example Permuted - Name of the dataset that gives the neurons and their order; without it each dataset gives its own.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- parameter k: integer, from 1, default 8, example 10 - How many neurons of a dataset at most.
-- column dataset: name of the dataset
-- column rank: 1 and on: response in the lead, or in the dataset, descending, then neuron ascending; positive responses only
-- column neuron: number of the neuron
-- column response: mean response over the dataset's images with this label
-- column images: how many those are
with recorded as materialized (
    select
        l.layer_id,
        c.category,
        d.name as dataset,
        r.recording_id,
        d.name = coalesce($reference, (select e.name from stored_dataset as e where e.dataset_id = m.reference_dataset_id)) as is_reference
    from stored_model as m
    join stored_layer as l on l.model_id = m.model_id
    join stored_category as c on c.category_list_id = m.category_list_id
    join stored_recording as r on r.model_id = m.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    where m.name = $model
        and l.name = $layer
        and c.name = $category
),
response as materialized (
    select
        q.dataset,
        s.neuron,
        s.images,
        s.response_sum / s.images / x.max as response
    from stored_category_response as s
    join recorded as q
        on q.recording_id = s.recording_id
        and q.layer_id = s.layer_id
        and q.category = s.category
    join stored_neuron_summary as x on x.neuron = s.neuron
    join recorded as b
        on b.recording_id = x.recording_id
        and b.layer_id = x.layer_id
        and b.is_reference
    where x.max > 0
        and s.category in (select category from recorded)  -- lets the other categories be skipped
),
ranked as (
    select
        r.dataset,
        r.neuron,
        row_number() over (partition by r.dataset order by r.response desc, r.neuron) as rank
    from response as r
    where r.response > 0
        and r.dataset = coalesce($lead, r.dataset)
    qualify rank <= $k
)
select
    r.dataset,
    k.rank,
    r.neuron,
    r.response,
    r.images
from ranked as k
join response as r on r.neuron = k.neuron
where (r.dataset = k.dataset or $lead is not null)
    and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), r.dataset))
order by r.dataset, k.rank
