-- title: Neurons ranked by a score
-- The neurons of a layer ordered by any score on a dataset, with the category that each fires for most in the reference and in the dataset.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter score: varchar, one of spurious|novelty|response_loss|activation_ratio, default spurious, example novelty - spurious, novelty, response_loss or activation_ratio.
-- parameter order: varchar, one of descending|ascending, default descending, example ascending - descending or ascending.
-- parameter k: integer, from 1, default 25, example 10 - How many neurons at most.
-- column rank: 1 and on: by the score, then neuron ascending; NULL scores are left out
-- column neuron: number of the neuron
-- column score: the score asked for
-- column reference_category: name of the category with the largest mean response in the reference
-- column reference_response: that mean response
-- column category: name of the category with the largest mean response in the dataset
-- column response: that mean response
-- column spurious: spurious score, 0..1
-- column novelty: novelty score; NULL without a loss
-- column response_loss: signed response loss
-- column activation_ratio: largest response divided by the largest in the reference
-- column fewest_images: smallest number of images behind any category
with scored as (
    select
        s.neuron,
        s.reference,
        case $score
            when 'spurious' then s.spurious
            when 'novelty' then s.novelty
            when 'response_loss' then s.response_loss
            when 'activation_ratio' then s.activation_ratio
        end as score,
        s.spurious,
        s.novelty,
        s.response_loss,
        s.activation_ratio,
        s.fewest_images
    from neuron_score as s
    where s.model = $model
        and s.layer = $layer
        and s.dataset = $dataset
),
strongest as (
    select
        c.dataset,
        c.neuron,
        max_by(c.category_name, (c.response, -c.category)) as category,
        max(c.response) as response
    from category_response as c
    where c.model = $model
        and c.layer = $layer
        and c.response is not null
    group by c.dataset, c.neuron
)
select
    row_number() over (
        order by
            case when $order = 'ascending' then s.score else -s.score end,
            s.neuron
    ) as rank,
    s.neuron,
    s.score,
    q.category as reference_category,
    q.response as reference_response,
    d.category,
    d.response,
    s.spurious,
    s.novelty,
    s.response_loss,
    s.activation_ratio,
    s.fewest_images
from scored as s
left join strongest as q
    on q.neuron = s.neuron
    and q.dataset = s.reference
left join strongest as d
    on d.neuron = s.neuron
    and d.dataset = $dataset
where s.score is not null
order by rank
limit $k
