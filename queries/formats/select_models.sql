-- The models, with the names of their categories.
select
    m.name as model,
    d.name as reference,
    (select list(c.name order by c.category) from stored_category as c where c.category_list_id = m.category_list_id) as categories,
    m.model_id
from stored_model as m
left join stored_dataset as d on d.dataset_id = m.reference_dataset_id
order by m.model_id
