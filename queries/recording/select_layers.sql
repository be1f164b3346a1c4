-- Every layer with its model, and the number of categories that the model tells apart.
select
    m.name,
    l.name,
    m.model_id,
    l.layer_id,
    l.neurons,
    (select count(*) from stored_category as c where c.category_list_id = m.category_list_id),
    l.pooling
from stored_layer as l
join stored_model as m using (model_id)
order by m.name, l.position
