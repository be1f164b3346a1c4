-- title: The first top images of some neurons
-- For the small pictures in rows of neurons: a list of neurons of a layer, a list of datasets, the first k images of each.
select
    t.neuron,
    t.dataset,
    t.rank,
    t.image,
    t.value,
    t.response,
    t.label,
    t.label_name,
    t.predicted,
    t.predicted_name
from top_image as t
where t.model = $model
    and t.layer = $layer
    and t.neuron in (select unnest($neurons))
    and t.dataset in (select unnest($datasets))
    and t.rank <= $k
order by t.neuron, t.dataset, t.rank
