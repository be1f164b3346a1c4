-- What is compared when a dataset that is stored is recorded again.
select
    image,
    coalesce(label, -1),
    pixels_checksum,
    cast(metadata as varchar)
from stored_image
where dataset_id = $dataset_id
    and image >= $first
    and image < $end
order by image
