-- The runs that came in, with the model that each belongs to.
select
    e.run,
    e.name,
    e.model
from experiment as e
where e.run in (select run from incoming_experiment)
order by e.started, e.run
