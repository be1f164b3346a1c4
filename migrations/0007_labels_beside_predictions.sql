-- title: Labels beside predictions
-- Nearly every question about images asks for label and prediction by name: from one row, instead of four joins that take
-- longer to plan than the rest of the question. The label is that of stored_image, which never changes while it is recorded.

alter table stored_prediction add column label integer;
alter table stored_prediction add column label_name varchar;
alter table stored_prediction add column predicted_name varchar;
comment on column stored_prediction.label is 'Ground-truth category id, as in stored_image; NULL when unknown.';
comment on column stored_prediction.label_name is 'Its name.';
comment on column stored_prediction.predicted_name is 'Name of the predicted category.';

update stored_prediction as p
set
    label = w.label,
    label_name = w.label_name,
    predicted_name = w.predicted_name
from (
    select
        q.recording_id,
        q.image,
        i.label,
        c.name as label_name,
        b.name as predicted_name
    from stored_prediction as q
    join stored_named_recording as n using (recording_id)
    join stored_image as i
        on i.dataset_id = n.dataset_id
        and i.image = q.image
    join stored_category as b
        on b.category_list_id = n.category_list_id
        and b.category = q.predicted
    left join stored_category as c
        on c.category_list_id = n.category_list_id
        and c.category = i.label
) as w
where w.recording_id = p.recording_id
    and w.image = p.image;
