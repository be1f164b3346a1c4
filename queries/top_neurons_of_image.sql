-- title: Top neurons of an image
-- The neurons of a layer that respond most to an image, or to the image of the same number in another dataset (the lead), with the responses of both.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter image: integer, from 0, example 0 - Number of the image, from 0.
-- parameter lead: varchar, default null, example Arbitrary - Name of the dataset whose image gives the order; without it this image does.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- parameter k: integer, from 1, default 12, example 10 - How many neurons at most.
-- column rank: 1 and on: lead_response descending, then neuron ascending; positive responses only
-- column neuron: number of the neuron
-- column response: activation by the image, divided by the largest in the reference; negative activations count 0
-- column value: activation by the image
-- column lead_response: response to the image that gives the order
with recorded as materialized (
    select *
    from recorded_layers($model, $layer, $reference)
),
place as materialized (
    select
        x.piece,
        x.neuron,
        x.element,
        q.dataset
    from stored_neuron as x
    join recorded as q using (recording_id, layer_id)
    where q.dataset in ($dataset, $lead)
),
/* The pieces are named once more, so that rows of other datasets are left unread: as a list, which the planner takes for
   shorter than what it looks through. */
activation as materialized (
    select
        x.dataset,
        x.neuron,
        a.values[x.element] as value
    from (
        select
            piece,
            cast(values as float[]) as values
        from stored_activation
        where image = $image
            and piece in (select unnest(list(distinct piece)) from place)
    ) as a
    join place as x using (piece)
),
ranked as (
    select
        a.neuron,
        x.max,
        a.value / cast(x.max as double) as response
    from activation as a
    join stored_neuron_summary as x on x.neuron = a.neuron
    join recorded as q
        on q.recording_id = x.recording_id
        and q.layer_id = x.layer_id
        and q.is_reference
    where a.dataset = coalesce($lead, $dataset)
        and a.value > 0
        and x.max > 0
    order by response desc, a.neuron
    limit $k
)
select
    row_number() over (order by l.response desc, l.neuron) as rank,
    l.neuron,
    positive_part(a.value) / cast(l.max as double) as response,
    a.value,
    l.response as lead_response
from ranked as l
join activation as a
    on a.neuron = l.neuron
    and a.dataset = $dataset
order by rank
