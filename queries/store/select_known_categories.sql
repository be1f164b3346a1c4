-- The names that categories have.
select distinct name
from stored_category
order by name
