-- title: Accuracy by what the top neuron is said to be
-- Accuracy among images whose top neuron is marked spurious, core or otherwise, and among those whose top neuron nobody judged. An image counts for each judgement of its top neuron.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- column dataset: name of the dataset
-- column judgement: what somebody says of the top neuron; NULL where nobody judged it
-- column neurons: different top neurons
-- column images: images with a known label whose top neuron they are
-- column accuracy: share of them predicted right, 0..1
with top as (
    select
        r.dataset,
        r.image,
        max_by(r.neuron, (r.response, -r.neuron)) as neuron
    from response as r
    where r.model = $model
        and r.layer = $layer
        and r.response > 0
    group by r.dataset, r.image
),
judged as (
    select distinct
        a.neuron,
        a.judgement
    from annotation as a
    where a.subject = 'neuron'
        and a.model = $model
        and a.layer = $layer
        and a.judgement is not null
)
select
    t.dataset,
    j.judgement,
    count(distinct t.neuron) as neurons,
    count(*) as images,
    cast(count(*) filter (where p.correct) as double) / count(*) as accuracy
from top as t
join prediction as p
    on p.model = $model
    and p.dataset = t.dataset
    and p.image = t.image
left join judged as j on j.neuron = t.neuron
where p.correct is not null
group by t.dataset, j.judgement
order by t.dataset, j.judgement nulls last
