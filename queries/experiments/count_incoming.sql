-- How many runs are new, and how many are there already.
select
    count(*) filter (where s.run is null) as added,
    count(s.run) as updated
from incoming_experiment as e
left join stored_experiment as s on s.run = e.run
