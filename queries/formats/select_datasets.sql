-- The datasets, with the names of their categories.
select
    d.name as dataset,
    d.images,
    d.checksum,
    (select list(c.name order by c.category) from stored_category as c where c.category_list_id = d.category_list_id) as categories,
    d.dataset_id
from stored_dataset as d
order by d.dataset_id
