-- The scores of a layer on a dataset.
select * exclude (model, layer, dataset)
from neuron_score
where model = $model
    and layer = $layer
    and dataset = $dataset
order by neuron
