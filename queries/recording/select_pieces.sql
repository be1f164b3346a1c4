-- Activations of some pieces of a layer on some images, 64 neurons a row, in any order.
select
    piece - $first_piece as piece,
    image - $first_image as image,
    values
from stored_activation
where piece >= $first_piece
    and piece < $end_piece
    and image >= $first_image
    and image < $end_image
