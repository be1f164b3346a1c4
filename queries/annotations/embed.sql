-- Take over into the store what is written beside it.
insert into stored_annotation by name
select unnest(r.one)
from (select unnest($entries) as one) as r
where r.one.annotation not in (select annotation from stored_annotation)
order by r.one.written_at, r.one.annotation
