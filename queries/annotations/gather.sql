-- What is embedded and what is written beside the store, in a database of its own in memory; entries are told by their ids.
create or replace table annotations_beside.main.entry as
from stored_annotation
union all by name
select unnest(r.one)
from (select unnest($entries) as one) as r
where r.one.annotation not in (select annotation from stored_annotation)
