-- What names in a question may be: models, layers and recorded datasets, the model that each belongs to, and how many neurons or
-- images it has. From the tables, since the views above them take ten times as long to plan.
select
    'model' as kind,
    m.name,
    m.name as model,
    null as size
from stored_model as m
union all
select
    'layer',
    l.name,
    m.name,
    l.neurons
from stored_layer as l
join stored_model as m using (model_id)
union all
select
    'dataset',
    n.dataset_name,
    n.model_name,
    d.images
from stored_named_recording as n
join stored_dataset as d using (dataset_id)
order by 1, 2, 4
