-- Runs that can't be taken over: twice in the source, or imported from another one before.
select
    'twice' as problem,
    e.run,
    string_agg(cast(e.number as varchar), ' and ' order by e.number) as found
from incoming_experiment as e
group by e.run
having count(*) > 1
union all
select
    'other source',
    e.run,
    s.source
from incoming_experiment as e
join stored_experiment as s on s.run = e.run
where s.source != e.source
order by 1 desc, 2
limit 1
