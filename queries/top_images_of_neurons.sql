-- title: Top images of several neurons
-- The images that activate each of some neurons most, in several datasets; the first 100 are kept with a recording.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neurons: varchar, example [7, 12] - Numbers of the neurons, a JSON list.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- parameter k: integer, from 1, default 6, example 10 - How many images of a neuron and dataset at most, up to 100.
-- column dataset: name of the dataset
-- column neuron: number of the neuron
-- column rank: 1 and on: activation descending, then image ascending; positive activations only
-- column image: number of the image
-- column value: activation
-- column response: activation divided by the largest in the reference; NULL when the neuron is silent there
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
with recorded as materialized (
    select
        m.category_list_id,
        l.layer_id,
        d.name as dataset,
        r.dataset_id,
        r.recording_id,
        d.name = coalesce($reference, (select e.name from stored_dataset as e where e.dataset_id = m.reference_dataset_id)) as is_reference,
        $datasets is null or list_contains(from_json($datasets, '["varchar"]'), d.name) as is_asked
    from stored_model as m
    join stored_layer as l on l.model_id = m.model_id
    join stored_recording as r on r.model_id = m.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    where m.name = $model
        and l.name = $layer
),
chosen as materialized (
    select unnest(from_json($neurons, '["integer"]')) as neuron
),
maximum as (
    select
        s.neuron,
        nullif(cast(greatest(s.max, 0) as double), 0) as maximum
    from stored_neuron_summary as s
    join recorded as q
        on q.recording_id = s.recording_id
        and q.layer_id = s.layer_id
        and q.is_reference
    where s.neuron in (select neuron from chosen)
)
select
    q.dataset,
    t.neuron,
    t.rank,
    t.image,
    t.value,
    t.value / x.maximum as response,
    i.label,
    c.name as label_name,
    p.predicted,
    b.name as predicted_name
from stored_top_image as t
join recorded as q
    on q.recording_id = t.recording_id
    and q.layer_id = t.layer_id
    and q.is_asked
join stored_image as i
    on i.dataset_id = q.dataset_id
    and i.image = t.image
join stored_prediction as p
    on p.recording_id = t.recording_id
    and p.image = t.image
join stored_category as b
    on b.category_list_id = q.category_list_id
    and b.category = p.predicted
left join stored_category as c
    on c.category_list_id = q.category_list_id
    and c.category = i.label
left join maximum as x on x.neuron = t.neuron
where t.rank <= $k
    and t.neuron in (select neuron from chosen)
order by q.dataset, t.neuron, t.rank
