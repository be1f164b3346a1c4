-- Appends activations, neuron after neuron.
insert into stored_activation
select
    $recording_id,
    $layer_id,
    neuron,
    image,
    value
from incoming
