-- Activations of some images of a layer as they lay before migration 9, image after image, 16 neurons a row.
select values
from stored_image_activation
where recording_id = $recording_id
    and layer_id = $layer_id
    and image >= $first
    and image < $end
order by image, piece
