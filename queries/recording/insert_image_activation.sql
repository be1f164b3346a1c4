-- Appends activations, image after image, 16 neurons a row.
insert into stored_image_activation
select
    $recording_id,
    $layer_id,
    image,
    piece,
    values
from incoming
