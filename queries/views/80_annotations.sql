-- title: Annotations
-- What people said of neurons, images and sets of images.

create view annotation_history as
select
    a.subject,
    a.model,
    a.layer,
    a.neuron,
    a.dataset,
    case when a.subject = 'image' then a.images[1] end as image,
    a.image_set,
    a.images,
    a.judgement,
    a.note,
    a.tags,
    a.author,
    a.written_at,
    a.withdrawn,
    a.annotation
from stored_annotation as a;
comment on view annotation_history is 'Every entry that was ever written, also those that a later one replaced, or that were withdrawn.';
comment on column annotation_history.subject is 'What it is on: neuron, image, or images for a set of them.';
comment on column annotation_history.model is 'Name of the model, of a neuron.';
comment on column annotation_history.layer is 'Name of the layer, of a neuron.';
comment on column annotation_history.neuron is 'Number of the neuron, from 0.';
comment on column annotation_history.dataset is 'Name of the dataset, of an image or set.';
comment on column annotation_history.image is 'Number of the image, from 0; NULL for a set.';
comment on column annotation_history.image_set is 'What the set of images is called.';
comment on column annotation_history.images is 'Numbers of the images, ascending: one, or those of the set.';
comment on column annotation_history.judgement is 'core, spurious, unclear, or a word of the author''s own.';
comment on column annotation_history.note is 'Free text.';
comment on column annotation_history.tags is 'Words to find it by.';
comment on column annotation_history.author is 'Who wrote it.';
comment on column annotation_history.written_at is 'When, in UTC.';
comment on column annotation_history.withdrawn is 'Whether the author took back what he had said.';
comment on column annotation_history.annotation is 'Id of the entry.';

create view annotation as
with latest as (
    select *
    from annotation_history as h
    qualify row_number() over (
        partition by h.subject, h.model, h.layer, h.neuron, h.dataset, h.image, h.image_set, h.author
        order by h.written_at desc, h.annotation desc
    ) = 1
)
select * exclude (withdrawn)
from latest
where not withdrawn;
comment on view annotation is 'What each author says of a neuron, an image or a set of images now.';
comment on column annotation.subject is 'What it is on: neuron, image, or images for a set of them.';
comment on column annotation.model is 'Name of the model, of a neuron.';
comment on column annotation.layer is 'Name of the layer, of a neuron.';
comment on column annotation.neuron is 'Number of the neuron, from 0.';
comment on column annotation.dataset is 'Name of the dataset, of an image or set.';
comment on column annotation.image is 'Number of the image, from 0; NULL for a set.';
comment on column annotation.image_set is 'What the set of images is called.';
comment on column annotation.images is 'Numbers of the images, ascending: one, or those of the set.';
comment on column annotation.judgement is 'core, spurious, unclear, or a word of the author''s own.';
comment on column annotation.note is 'Free text.';
comment on column annotation.tags is 'Words to find it by.';
comment on column annotation.author is 'Who says it.';
comment on column annotation.written_at is 'When it was said last, in UTC.';
comment on column annotation.annotation is 'Id of the entry.';
