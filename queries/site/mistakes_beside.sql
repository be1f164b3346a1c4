-- title: Wrong images beside an image
-- The wrong predictions of a dataset, and those with this image's label and prediction: how many, how many of them up to this image, and the nearest on both sides.
with mistake as materialized (
    select
        p.image,
        p.label,
        p.predicted
    from stored_prediction as p
    join stored_named_recording as n using (recording_id)
    where n.model_name = $model
        and n.dataset_name = $dataset
        and p.label != p.predicted
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
