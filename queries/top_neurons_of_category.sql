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
        r.*,
        c.category
    from recorded_layers($model, $layer, $reference) as r
    join stored_category as c using (category_list_id)
    where c.name = $category
),
averaged as materialized (
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
    join stored_neuron_summary as x
        on x.recording_id = (select b.recording_id from recorded as b where b.is_reference)
        and x.layer_id = s.layer_id
        and x.neuron = s.neuron
    where x.max > 0
        and s.category in (select category from recorded)  -- lets the other categories be skipped
),
best as (
    select
        r.dataset,
        max_by(r.neuron, (r.response, -r.neuron), $k) as neurons
    from averaged as r
    where r.response > 0
        and r.dataset = coalesce($lead, r.dataset)
    group by r.dataset
),
ranked as (
    select
        b.dataset,
        unnest(b.neurons) as neuron,
        unnest(range(1, len(b.neurons) + 1)) as rank
    from best as b
)
select
    r.dataset,
    k.rank,
    r.neuron,
    r.response,
    r.images
from ranked as k
join averaged as r on r.neuron = k.neuron
where (r.dataset = k.dataset or $lead is not null)
    and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), r.dataset))
order by r.dataset, k.rank
