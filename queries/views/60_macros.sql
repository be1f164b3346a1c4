-- title: Table macros
-- Questions with arguments. From another database attach the store and `use` it first.

create macro top_images(model, layer, neuron, dataset, k) as table
select
    row_number() over (order by t.value desc, t.image) as rank,
    t.image,
    t.value,
    t.response,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name
from (
    select
        a.image,
        a.value,
        a.value / nullif(x.max, 0) as response
    from activation as a
    join model as m on m.model = a.model
    left join neuron_summary as x
        on x.model = a.model
        and x.layer = a.layer
        and x.neuron = a.neuron
        and x.dataset = m.reference
    where a.model = model
        and a.layer = layer
        and a.neuron = neuron
        and a.dataset = dataset
        and a.value > 0
    order by a.value desc, a.image
    limit k
) as t
join prediction as p
    on p.model = model
    and p.dataset = dataset
    and p.image = t.image
order by rank;
comment on macro table top_images is 'The k images of a dataset that activate a neuron most: top_images(model, layer, neuron, dataset, k). Positive activations; ties to the lower image.';

create macro confusion_set(model, dataset, a, b) as table
select
    p.image,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    p.confidence
from prediction as p
where p.model = model
    and p.dataset = dataset
    and a != b
    and (
        (p.label = a and p.predicted = b)
        or (p.label = b and p.predicted = a)
    )
order by p.label, p.predicted, p.image;
comment on macro table confusion_set is 'The images of category id a predicted as b, and of b predicted as a: confusion_set(model, dataset, a, b).';

create macro scores(model, layer, dataset, reference) as table
select
    l.name as layer,
    s.neuron,
    s.activation_ratio,
    s.response_loss,
    s.novelty,
    s.spurious,
    s.reason,
    s.fewest_images
from score_rows(
    (select r.recording_id from stored_recording as r join stored_model as m using (model_id) join stored_dataset as d using (dataset_id) where m.name = model and d.name = dataset),
    (select r.recording_id from stored_recording as r join stored_model as m using (model_id) join stored_dataset as d using (dataset_id) where m.name = model and d.name = reference)
) as s
join stored_layer as l using (layer_id)
where l.name = layer
order by s.neuron;
comment on macro table scores is 'Scores of the neurons of a layer on a dataset against any reference: scores(model, layer, dataset, reference).';
