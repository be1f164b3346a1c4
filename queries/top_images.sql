-- title: Top images of a neuron
-- The images of a dataset that activate a neuron most, positive activations only, under any condition on them.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter where: predicate, default true, example label != predicted and confidence > 0.9 - Condition in SQL on image, value, response, label, label_name, predicted, predicted_name, confidence, correct and metadata.
-- parameter k: integer, from 1, default 20, example 10 - How many images at most.
-- column rank: 1 and on: activation descending, then image ascending
-- column image: number of the image
-- column value: activation
-- column response: activation divided by the largest in the reference
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
-- column confidence: probability of the prediction, 0..1
-- column metadata: free fields of the image, a JSON object
with recorded as (
    select
        n.recording_id,
        n.layer_id,
        n.dataset_id
    from stored_named_layer as n
    where n.model_name = $model
        and n.layer_name = $layer
        and n.dataset_name = $dataset
)
select
    row_number() over (order by t.value desc, t.image) as rank,
    t.image,
    t.value,
    t.response,
    t.label,
    t.label_name,
    t.predicted,
    t.predicted_name,
    t.confidence,
    t.metadata
from (
    select *
    from (
        select
            a.image,
            a.value,
            a.value / reference_scale(a.reference_max) as response,
            p.label,
            p.label_name,
            p.predicted,
            p.predicted_name,
            p.confidence,
            p.predicted = p.label as correct,
            i.metadata
        from stored_value as a
        join recorded as n using (recording_id, layer_id)
        join (
            select *
            from stored_prediction
            where recording_id in (select recording_id from recorded)
        ) as p using (image)  -- one column: joins on two take twice as long
        join (
            select *
            from stored_image
            where dataset_id in (select dataset_id from recorded)
        ) as i using (image)
        where a.neuron = $neuron
            and a.value > 0
    ) as c
    where $where
    order by c.value desc, c.image
    limit $k
) as t
order by rank
