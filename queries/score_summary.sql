-- title: Summary of the scores of a layer
-- Count, NULLs, mean, standard deviation, median and quartiles of novelty, spurious score, response loss and activation ratio over the neurons of a layer, for every dataset. The variant notebook keeps negative novelty.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter variant: varchar, one of paper|notebook, default paper, example notebook - paper, or notebook: novelty is the signed response loss.
-- column dataset: name of the dataset
-- column score: spurious, novelty, response_loss or activation_ratio
-- column neurons: neurons of the layer
-- column scored: neurons whose score is not NULL
-- column not_in_reference: neurons of a layer that the reference was recorded without
-- column silent_in_reference: neurons that no image of the reference activates
-- column constant: neurons with constant category responses
-- column few_categories: neurons with fewer than 3 shared categories
-- column mean: mean of the score
-- column std: population standard deviation
-- column q25: lower quartile
-- column median: median
-- column q75: upper quartile
-- column share_positive: share of the neurons with a score above 0, 0..1
with score as (
    select
        s.dataset,
        v.score,
        v.position,
        v.value,
        s.neuron,
        s.reason
    from neuron_score as s
    cross join lateral (
        values
            ('spurious', 1, s.spurious),
            ('novelty', 2, case when $variant = 'notebook' then s.response_loss else s.novelty end),
            ('response_loss', 3, s.response_loss),
            ('activation_ratio', 4, s.activation_ratio)
    ) as v (score, position, value)
    where s.model = $model
        and s.layer = $layer
)
select
    s.dataset,
    s.score,
    count(*) as neurons,
    count(s.value) as scored,
    count(*) filter (where s.reason = 'not_in_reference') as not_in_reference,
    count(*) filter (where s.reason = 'silent_in_reference') as silent_in_reference,
    count(*) filter (where s.reason = 'constant' and s.score = 'spurious') as constant,
    count(*) filter (where s.reason = 'few_categories' and s.score = 'spurious') as few_categories,
    avg(s.value order by s.neuron) as mean,
    stddev_pop(s.value order by s.neuron) as std,
    quantile_cont(s.value, 0.25) as q25,
    quantile_cont(s.value, 0.5) as median,
    quantile_cont(s.value, 0.75) as q75,
    cast(count(*) filter (where s.value > 0) as double) / count(*) as share_positive
from score as s
group by s.dataset, s.score, s.position
order by s.dataset, s.position
