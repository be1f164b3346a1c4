-- Puts label and names beside the predictions of a recording, from its images and categories.
update stored_prediction as p
set
    label = w.label,
    label_name = w.label_name,
    predicted_name = w.predicted_name
from (
    select
        q.image,
        i.label,
        c.name as label_name,
        b.name as predicted_name
    from stored_prediction as q
    join stored_recording as r using (recording_id)
    join stored_dataset as d using (dataset_id)
    join stored_image as i
        on i.dataset_id = r.dataset_id
        and i.image = q.image
    join stored_category as b
        on b.category_list_id = d.category_list_id
        and b.category = q.predicted
    left join stored_category as c
        on c.category_list_id = d.category_list_id
        and c.category = i.label
    where q.recording_id = $recording_id
) as w
where p.recording_id = $recording_id
    and w.image = p.image
