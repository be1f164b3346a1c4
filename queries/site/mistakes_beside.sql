-- title: Wrong images beside an image
-- The wrong predictions of a dataset, and those with this image's label and prediction: how many, how many of them up to this image, and the nearest on both sides.
with mistake as materialized (
    select
        p.image,
        i.label,
        p.predicted
    from stored_recording as r
    join stored_model as m on m.model_id = r.model_id
    join stored_dataset as d on d.dataset_id = r.dataset_id
    join stored_prediction as p on p.recording_id = r.recording_id
    join stored_image as i
        on i.dataset_id = r.dataset_id
        and i.image = p.image
        and i.label != p.predicted
    where m.name = $model
        and d.name = $dataset
)
select
    'wrong' as kind,
    count(*) as images,
    count(*) filter (image <= $image) as place,
    max(image) filter (image < $image) as previous,
    min(image) filter (image > $image) as next
from mistake
union all
select
    'alike' as kind,
    count(*) as images,
    count(*) filter (image <= $image) as place,
    max(image) filter (image < $image) as previous,
    min(image) filter (image > $image) as next
from mistake
semi join (
    select
        label,
        predicted
    from mistake
    where image = $image
) as this using (label, predicted)
