-- Appends activations, 64 neurons a row.
insert into stored_activation
select
    $first_piece + piece,
    image,
    values
from incoming
