-- The names that parameters of runs have.
select distinct name
from stored_experiment_param
order by name
