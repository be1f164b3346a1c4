-- The activations of some images of a layer, image after image, 16 neurons a row.
select
    image,
    piece,
    values
from stored_image_activation
where recording_id = $recording_id
    and layer_id = $layer_id
    and image >= $first
    and image < $end
order by image, piece
