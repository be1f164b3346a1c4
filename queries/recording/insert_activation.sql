-- Appends a block of a layer's activations: neuron after neuron, images ascending.
insert into stored_activation
select
    $recording_id,
    $layer_id,
    neuron,
    image,
    value
from block
