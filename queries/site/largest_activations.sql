-- The largest activations of neurons in a dataset.
select
    neuron,
    max
from neuron_summary
where model = $model
    and layer = $layer
    and dataset = $reference
    and list_contains($neurons, neuron)
