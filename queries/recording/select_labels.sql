-- The labels of some images of a recording, -1 where they are not known.
select
    coalesce(i.label, -1) as label
from stored_recording as r
join stored_image as i using (dataset_id)
where r.recording_id = $recording_id
    and i.image >= $first
    and i.image < $end
order by i.image
