-- title: What people say of it
-- The annotations on neurons, images or sets of images, the newest first; with a number of an image, those on it and on the sets that hold it. What isn't given may be any.
-- parameter subject: varchar, one of neuron|image|images, default neuron, example neuron - neuron, image, or images for a set.
-- parameter model: varchar, default null, example colored_mnist - Of a neuron: its model.
-- parameter layer: varchar, default null, example linear1 - Of a neuron: its layer.
-- parameter neuron: integer, from 0, default null, example 7 - Of a neuron: its number.
-- parameter dataset: varchar, default null, example Permuted - Of an image or set: the dataset.
-- parameter image: integer, from 0, default null, example 12 - Of an image: its number.
-- parameter image_set: varchar, default null, example taken for 2 - Of a set: what it is called.
-- column subject: neuron, image or images
-- column image_set: what the set is called; NULL for a neuron or image
-- column images: number of images of the set; NULL for a neuron
-- column judgement: core, spurious, unclear, or a word of the author's own
-- column note: free text
-- column tags: words to find it by
-- column author: who says it
-- column written_at: when it was said last, in UTC
-- column entries: how many entries the author wrote on it
with history as (
    select
        h.*,
        count(*) over (
            partition by h.subject, h.model, h.layer, h.neuron, h.dataset, h.image, h.image_set, h.author
        ) as entries
    from annotation_history as h
    where (h.subject = $subject or ($subject = 'image' and h.subject = 'images' and $image is not null))
        and ($model is null or h.model = $model)
        and ($layer is null or h.layer = $layer)
        and ($neuron is null or h.neuron = $neuron)
        and ($dataset is null or h.dataset = $dataset)
        and ($image is null or list_contains(h.images, $image))
        and ($image_set is null or h.image_set = $image_set)
)
select
    h.subject,
    h.image_set,
    len(h.images) as images,
    h.judgement,
    h.note,
    h.tags,
    h.author,
    h.written_at,
    h.entries
from history as h
where h.annotation in (select a.annotation from annotation as a)
order by h.written_at desc, h.annotation desc
