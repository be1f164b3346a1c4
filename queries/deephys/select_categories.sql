-- The names of a model's categories, in the order of their ids.
select c.name
from stored_category as c
join stored_model as m using (category_list_id)
where m.name = $model
order by c.category
