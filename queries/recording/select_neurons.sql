-- What some neurons of a layer did on all images, in any order.
select
    neuron,
    image,
    value
from stored_activation
where recording_id = $recording_id
    and layer_id = $layer_id
    and neuron >= $first
    and neuron < $end
