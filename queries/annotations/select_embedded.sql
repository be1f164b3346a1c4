-- The last embedded entry of an author on a subject.
select *
from stored_annotation
where subject = $subject
    and model is not distinct from $model
    and layer is not distinct from $layer
    and neuron is not distinct from $neuron
    and dataset is not distinct from $dataset
    and image_set is not distinct from $image_set
    and (subject != 'image' or images = $images)
    and author = $author
order by written_at desc, annotation desc
limit 1
