-- A block of images of a layer, in any order, from the one copy of the activations or the other.
select
    neuron,
    image,
    value
from stored_activation
where $copy = 'stored_activation'
    and recording_id = $recording_id
    and layer_id = $layer_id
    and image >= $first
    and image < $end
union all
select
    piece * 16 + element,
    image,
    values[element + 1]
from stored_image_activation
cross join (select cast(range as integer) as element from range(16))
where $copy = 'stored_image_activation'
    and recording_id = $recording_id
    and layer_id = $layer_id
    and image >= $first
    and image < $end
    and piece * 16 + element < $neurons
