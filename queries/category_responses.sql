-- title: Category responses of a neuron
-- Mean response of a neuron to the images of each category, in several datasets, against any reference. A category without images has no row.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- parameter most: integer, from 1, default null, example 12 - Only the categories that are among this many with the largest mean response in one of the datasets; without it all.
-- column dataset: name of the dataset
-- column category: category id
-- column category_name: name of the category
-- column images: images behind the mean
-- column response: mean of max(activation, 0), divided by the largest response in the reference; NULL when the neuron is silent there
with recorded as materialized (
    select *
    from recorded_layers($model, $layer, $reference)
),
ranked as materialized (
    select
        q.dataset,
        q.category_list_id,
        s.category,
        s.images,
        s.response_sum,
        row_number() over (partition by s.recording_id order by s.response_sum / s.images desc, s.category) as rank
    from stored_category_response as s
    join recorded as q using (recording_id, layer_id)
    where s.neuron = $neuron
        and ($datasets is null or list_contains(from_json($datasets, '["varchar"]'), q.dataset))
)
select
    s.dataset,
    s.category,
    c.name as category_name,
    s.images,
    s.response_sum / s.images / (
        select reference_scale(any_value(x.max))
        from stored_neuron_summary as x
        join recorded as b using (recording_id, layer_id)
        where x.neuron = $neuron
            and b.is_reference
    ) as response
from ranked as s
join stored_category as c
    on c.category_list_id = s.category_list_id
    and c.category = s.category
where $most is null
    or s.category in (select r.category from ranked as r where r.rank <= $most)
order by s.dataset, s.category
