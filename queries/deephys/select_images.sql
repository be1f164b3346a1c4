-- Some images of a recording, with the whole picture if $whole and it was kept, else the thumbnail.
select
    i.image,
    p.label,
    p.predicted,
    cast(i.metadata as varchar) as metadata,
    case when $whole then coalesce(i.original, i.thumbnail) else i.thumbnail end as picture,
    i.width,
    i.height
from stored_image as i
join stored_prediction as p
    on p.recording_id = $recording_id
    and p.image = i.image
where i.dataset_id = $dataset_id
    and i.image >= $first
    and i.image < $end
order by i.image
