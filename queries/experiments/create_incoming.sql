-- Where runs are gathered before they are checked and taken over.
create or replace temp table incoming_experiment as
select
    cast(null as bigint) as number,
    * exclude (imported_at)
from stored_experiment
limit 0;
create or replace temp table incoming_param as
from stored_experiment_param
limit 0;
create or replace temp table incoming_metric as
from stored_experiment_metric
limit 0;
create or replace temp table incoming_tag as
from stored_experiment_tag
limit 0;
