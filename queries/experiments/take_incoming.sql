-- Replace what is stored of the runs that came in.
delete from stored_experiment where run in (select run from incoming_experiment);
delete from stored_experiment_param where run in (select run from incoming_experiment);
delete from stored_experiment_metric where run in (select run from incoming_experiment);
delete from stored_experiment_tag where run in (select run from incoming_experiment);
insert into stored_experiment
select
    * exclude (number),
    now() at time zone 'UTC'
from incoming_experiment
order by number;
insert into stored_experiment_param
from incoming_param
qualify row_number() over (partition by run, name order by value) = 1
order by run, name;
insert into stored_experiment_metric
from incoming_metric
order by run, name, step;
insert into stored_experiment_tag
from incoming_tag
qualify row_number() over (partition by run, name order by value) = 1
order by run, name;
