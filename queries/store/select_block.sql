-- A block of images of a layer, in any order.
select
    neuron,
    image,
    value
from stored_activation
where recording_id = $recording_id
    and layer_id = $layer_id
    and image >= $first
    and image < $end
