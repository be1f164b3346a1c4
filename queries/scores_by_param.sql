-- title: Does a parameter change a score
-- The scores of a layer's neurons for each value of a parameter of the runs, such as: does weight decay lower spuriousness. A model counts once a value, however many runs it has.
-- parameter param: varchar, default weight_decay, example weight_decay - Name of the parameter.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter score: varchar, one of spurious|novelty|response_loss|activation_ratio, default spurious, example spurious - spurious, novelty, response_loss or activation_ratio.
-- column value: value of the parameter, as text
-- column number: the same as a number; NULL when it is none
-- column dataset: name of the dataset
-- column models: models with this value
-- column neurons: their neurons that have the score
-- column mean: mean of the score
-- column median: median of the score
-- column std: population standard deviation of the score
-- column correlation: Pearson's correlation of number and score over all neurons on the dataset; NULL with one value
with model_value as (
    select distinct
        p.model,
        p.value,
        p.number
    from experiment_param as p
    where p.name = $param
        and p.model is not null
),
scored as (
    select
        v.value,
        v.number,
        s.dataset,
        s.model,
        case $score
            when 'spurious' then s.spurious
            when 'novelty' then s.novelty
            when 'response_loss' then s.response_loss
            when 'activation_ratio' then s.activation_ratio
        end as score
    from neuron_score as s
    join model_value as v on v.model = s.model
    where s.layer = $layer
        and s.dataset != s.reference
),
related as (
    select
        c.dataset,
        case
            when count(distinct c.number) > 1 and count(distinct c.score) > 1
                then corr(c.score, c.number)
        end as correlation
    from scored as c
    where c.score is not null
        and c.number is not null
    group by c.dataset
)
select
    c.value,
    c.number,
    c.dataset,
    count(distinct c.model) as models,
    count(c.score) as neurons,
    round(avg(c.score), 12) as mean,
    median(c.score) as median,
    round(stddev_pop(c.score), 12) as std,
    round(any_value(r.correlation), 9) as correlation
from scored as c
left join related as r on r.dataset = c.dataset
group by c.value, c.number, c.dataset
order by c.dataset, c.number nulls last, c.value
