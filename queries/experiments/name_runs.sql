-- Derives anew which model each run belongs to.
delete from stored_named_run;
insert into stored_named_run
select
    m.run,
    m.model,
    m.matched_by
from stored_matched_run as m
order by m.run;
