-- In SQLite: the last entry of an author on a subject.
select *
from entry
where subject = :subject
    and model is :model
    and layer is :layer
    and neuron is :neuron
    and dataset is :dataset
    and image_set is :image_set
    and (subject != 'image' or images is :images)
    and author = :author
order by written_at desc, annotation desc
limit 1
