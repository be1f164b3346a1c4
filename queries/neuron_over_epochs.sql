-- title: A neuron over the epochs
-- One neuron in the checkpoints of a training, ordered by a numeric parameter of their runs such as the epoch, with the change from the checkpoint before in the same study.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron.
-- parameter param: varchar, default epoch, example epoch - The parameter that orders the checkpoints.
-- column study: what the runs are of
-- column at: value of the parameter
-- column model: name of the checkpoint's model
-- column dataset: name of the dataset
-- column category: name of the category with the largest mean response
-- column response: that mean response
-- column activation_ratio: largest response divided by the largest in the reference
-- column spurious: spurious score; NULL in the reference
-- column response_change: response less that at the checkpoint before
-- column spurious_change: spurious less that at the checkpoint before
-- column category_changed: whether it fired most for another category at the checkpoint before
with trained as (
    select
        e.model,
        min_by(e.study, e.run) as study,
        min(p.number) as at
    from experiment as e
    join experiment_param as p
        on p.run = e.run
        and p.name = $param
    where e.model is not null
        and p.number is not null
    group by e.model
),
strongest as (
    select
        c.model,
        c.dataset,
        max_by(c.category_name, (c.response, -c.category)) as category,
        max(c.response) as response
    from category_response as c
    where c.layer = $layer
        and c.neuron = $neuron
        and c.response is not null
    group by c.model, c.dataset
)
select
    k.study,
    k.at,
    k.model,
    s.dataset,
    s.category,
    s.response,
    n.activation_ratio,
    n.spurious,
    s.response - lag(s.response) over previous as response_change,
    n.spurious - lag(n.spurious) over previous as spurious_change,
    s.category != lag(s.category) over previous as category_changed
from trained as k
join strongest as s on s.model = k.model
left join neuron_score as n
    on n.model = k.model
    and n.dataset = s.dataset
    and n.layer = $layer
    and n.neuron = $neuron
window previous as (partition by k.study, s.dataset order by k.at, k.model)
order by k.study nulls last, s.dataset, k.at, k.model
