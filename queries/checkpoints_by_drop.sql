-- title: Which checkpoint loses least
-- Every model with its accuracy on its reference and on the other datasets, that with the smallest mean drop first, and the run that made it.
-- column place: 1 and on: by the mean drop, then by name
-- column model: name of the model
-- column run: id of the run that it belongs to, the last that began; NULL without one
-- column run_name: name of that run
-- column reference: name of the model's default reference
-- column reference_accuracy: accuracy there, 0..1
-- column dataset: name of the other dataset
-- column accuracy: accuracy there, 0..1
-- column drop: reference_accuracy less accuracy
-- column mean_drop: mean of the drop over the datasets that are not the reference
with run_of as (
    select
        e.model,
        max_by(e.run, (coalesce(epoch_us(e.started), 0), e.run)) as run,
        max_by(e.name, (coalesce(epoch_us(e.started), 0), e.run)) as run_name
    from experiment as e
    where e.model is not null
    group by e.model
),
dropped as (
    select
        m.model,
        m.reference,
        r.accuracy as reference_accuracy,
        a.dataset,
        a.accuracy,
        round(r.accuracy - a.accuracy, 12) as drop
    from model as m
    join dataset_accuracy as r
        on r.model = m.model
        and r.dataset = m.reference
    join dataset_accuracy as a
        on a.model = m.model
        and a.dataset != m.reference
    where a.accuracy is not null
),
mean_of as (
    select
        d.model,
        round(avg(d.drop), 12) as mean_drop
    from dropped as d
    group by d.model
)
select
    dense_rank() over (order by n.mean_drop nulls last, d.model) as place,
    d.model,
    r.run,
    r.run_name,
    d.reference,
    d.reference_accuracy,
    d.dataset,
    d.accuracy,
    d.drop,
    n.mean_drop
from dropped as d
join mean_of as n on n.model = d.model
left join run_of as r on r.model = d.model
order by place, d.drop desc, d.dataset
