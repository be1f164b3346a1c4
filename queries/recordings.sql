-- title: What was recorded
-- Every recording with its accuracy, the drop from the model's reference, and its layers.
-- column model: name of the model
-- column dataset: name of the dataset
-- column is_reference: whether it is the model's default reference
-- column images: number of images
-- column accuracy: share of the labelled images predicted right, 0..1
-- column drop: accuracy on the reference less accuracy here
-- column layers: names of the layers, with their numbers of neurons
-- column recorded_at: when, in UTC
select
    r.model,
    r.dataset,
    r.is_reference,
    r.images,
    a.accuracy,
    round(b.accuracy - a.accuracy, 12) as drop,
    (
        select string_agg(l.layer || ' (' || l.neurons || ')', ', ' order by l.position)
        from layer as l
        where l.model = r.model
    ) as layers,
    r.recorded_at
from recording as r
join model as m on m.model = r.model
join dataset_accuracy as a
    on a.model = r.model
    and a.dataset = r.dataset
left join dataset_accuracy as b
    on b.model = r.model
    and b.dataset = m.reference
order by r.model, r.is_reference desc, drop desc nulls last, r.dataset
