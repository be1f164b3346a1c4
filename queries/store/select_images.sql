-- What the checksum of a dataset goes over.
select
    image,
    coalesce(label, -1),
    pixels_checksum,
    cast(metadata as varchar)
from stored_image
where dataset_id = $dataset_id
order by image
