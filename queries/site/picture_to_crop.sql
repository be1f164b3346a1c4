-- title: A picture to cut a part out of
-- The original where it was kept, since the thumbnail of a part would be blurred; and the thumbnail.
select
    i.original,
    i.thumbnail
from stored_image as i
join stored_dataset as d using (dataset_id)
where d.name = $dataset
    and i.image = $image
