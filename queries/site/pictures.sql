-- title: Thumbnails of the images on a page
-- Pairs of a dataset and an image number, in two lists. Rows are found by their numbers first: so only the thumbnails that are wanted are read.
select
    d.name as dataset,
    i.image,
    i.thumbnail,
    i.thumbnail_type,
    i.width,
    i.height
from stored_image as i
join stored_dataset as d using (dataset_id)
where i.rowid in (
    select j.rowid
    from stored_image as j
    join stored_dataset as e using (dataset_id)
    join (
        select
            unnest($datasets) as dataset,
            unnest($images) as image
    ) as w
        on w.dataset = e.name
        and w.image = j.image
)
