-- title: Table macros
-- Questions with arguments. From another database attach the store and `use` it first.

-- Up to 100 are kept with the recording; more are chosen from the activations, and named and normalised afterwards. Of the
-- two parts one is always empty, which the planner sees.
create macro top_images(model, layer, neuron, dataset, k) as table
with top as (
    select
        s.recording_id,
        s.layer_id,
        s.rank,
        s.image,
        s.value,
        s.label,
        s.label_name,
        s.predicted,
        s.predicted_name,
        s.place_row,
        s.place_column
    from stored_top_image as s
    join stored_named_layer as n using (recording_id, layer_id)
    where n.model_name = model
        and n.layer_name = layer
        and n.dataset_name = dataset
        and s.neuron = neuron
        and s.rank <= k
        and k <= 100
    union all
    select
        a.recording_id,
        a.layer_id,
        row_number() over (order by a.value desc, a.image),
        a.image,
        a.value,
        p.label,
        p.label_name,
        p.predicted,
        p.predicted_name,
        s.place_row,
        s.place_column
    from (
        select
            a.recording_id,
            a.layer_id,
            a.image,
            a.value
        from stored_value as a
        join stored_named_layer as n using (recording_id, layer_id)
        where n.model_name = model
            and n.layer_name = layer
            and n.dataset_name = dataset
            and a.neuron = neuron
            and a.value > 0
            and k > 100
        order by a.value desc, a.image
        limit k
    ) as a
    join stored_prediction as p using (recording_id, image)
    left join stored_top_image as s
        on s.recording_id = a.recording_id
        and s.layer_id = a.layer_id
        and s.neuron = neuron
        and s.image = a.image
)
select
    t.rank,
    t.image,
    t.value,
    t.value / reference_scale(x.reference_max) as response,
    t.label,
    t.label_name,
    t.predicted,
    t.predicted_name,
    t.place_row,
    t.place_column
from top as t
join stored_neuron as x
    on x.recording_id = t.recording_id
    and x.layer_id = t.layer_id
    and x.neuron = neuron
order by t.rank;
comment on macro table top_images is 'The k images of a dataset that activate a neuron most: top_images(model, layer, neuron, dataset, k). Positive activations; ties to the lower image. Places are kept for the first 100; what they see of the picture is in the view top_image.';

-- The pieces are named once more, so that rows of other datasets are left unread: as a list, which the planner takes for
-- shorter than what it looks through.
create macro top_neurons(model, layer, dataset, image, k) as table
with place as materialized (
    select
        x.piece,
        x.neuron,
        x.element,
        reference_scale(x.reference_max) as scale
    from stored_neuron as x
    join stored_named_layer as n using (recording_id, layer_id)
    where n.model_name = model
        and n.layer_name = layer
        and n.dataset_name = dataset
)
select
    row_number() over (order by r.response desc, r.neuron) as rank,
    r.neuron,
    r.response,
    r.value
from (
    select
        x.neuron,
        a.values[x.element] as value,
        positive_part(a.values[x.element]) / x.scale as response
    from (
        select
            p.piece,
            cast(p.values as float[]) as values
        from stored_activation as p
        where p.image = image
            and p.piece in (select unnest(list(distinct q.piece)) from place as q)
    ) as a
    join place as x using (piece)
) as r
where r.response > 0
order by rank
limit k;
comment on macro table top_neurons is 'The k neurons of a layer that respond most to an image: top_neurons(model, layer, dataset, image, k). Normalised responses, positive only; ties to the lower neuron.';

-- Activations are added as whole numbers, in units of 2**-90 of the neuron's maximum or so, which holds every float32 that
-- counts: their sum is exact, so neither the order of rows nor the number of threads decides between equal means.
create macro top_neurons_of(model, layer, dataset, images, k) as table
with recorded as (
    select
        r.recording_id,
        r.layer_id
    from stored_named_layer as r
    where r.model_name = model
        and r.dataset_name = dataset
        and r.layer_name = layer
),
neuron as (
    select
        s.neuron,
        x.piece,
        x.element,
        reference_scale(x.reference_max) as reference_maximum,
        pow(2, 90 - floor(log2(s.max))) as scale
    from stored_neuron_summary as s
    join recorded using (recording_id, layer_id)
    join stored_neuron as x using (recording_id, layer_id, neuron)
    where s.max > 0
        and x.reference_max > 0
),
piece as (
    select
        a.piece,
        cast(a.values as float[]) as values
    from stored_activation as a
    where a.image in (select unnest(images))
)
select
    row_number() over (order by t.response desc, t.neuron) as rank,
    t.neuron,
    t.response,
    t.images
from (
    select
        n.neuron,
        cast(sum(cast(positive_part(a.values[n.element]) * n.scale as hugeint)) as double)
            / any_value(n.scale) / (count(*) * any_value(n.reference_maximum)) as response,
        count(*) as images
    from piece as a
    join neuron as n using (piece)
    group by n.neuron
) as t
where t.response > 0
order by rank
limit k;
comment on macro table top_neurons_of is 'The k neurons of a layer with the largest mean response over a list of images: top_neurons_of(model, layer, dataset, images, k). Ties to the lower neuron.';

create macro confusion_set(model, dataset, a, b) as table
select
    p.image,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    p.confidence
from prediction as p
where p.model = model
    and p.dataset = dataset
    and a != b
    and (
        (p.label = a and p.predicted = b)
        or (p.label = b and p.predicted = a)
    )
order by p.label, p.predicted, p.image;
comment on macro table confusion_set is 'The images of category id a predicted as b, and of b predicted as a: confusion_set(model, dataset, a, b).';

create macro scores(model, layer, dataset, reference) as table
select
    l.name as layer,
    s.neuron,
    s.activation_ratio,
    s.response_loss,
    s.novelty,
    s.spurious,
    s.reason,
    s.fewest_images
from score_rows(
    (select r.recording_id from stored_named_recording as r where r.model_name = model and r.dataset_name = dataset),
    (select r.recording_id from stored_named_recording as r where r.model_name = model and r.dataset_name = reference)
) as s
join stored_layer as l using (layer_id)
where l.name = layer
order by s.neuron;
comment on macro table scores is 'Scores of the neurons of a layer on a dataset against any reference: scores(model, layer, dataset, reference).';

-- In double precision, and rounded, so that images with the same activations tie whatever the order of the sum. What the image
-- does is one list of lists, which every row looks up: as values of a join it would be copied for each.
create macro similar_images(model, layer, dataset, image, among, k) as table
with asked as (
    select list(cast(a.values as double[]) order by x.neuron) as pieces
    from stored_activation as a
    join stored_neuron as x using (piece)
    join stored_named_layer as n using (recording_id, layer_id)
    where n.model_name = model
        and n.layer_name = layer
        and n.dataset_name = dataset
        and x.element = 1
        and a.image = image
),
beside as (
    select
        x.recording_id,
        x.layer_id,
        x.piece,
        x.neuron // 64 + 1 as number
    from stored_neuron as x
    join stored_named_layer as n using (recording_id, layer_id)
    where n.model_name = model
        and n.layer_name = layer
        and n.dataset_name = among
        and x.element = 1
),
compared as (
    select
        b.recording_id,
        b.layer_id,
        a.image as number,
        sum(list_inner_product(cast(a.values as double[]), q.pieces[b.number])) as product
    from (select p.piece, p.image, cast(p.values as float[]) as values from stored_activation as p) as a
    join beside as b using (piece)
    cross join asked as q
    group by b.recording_id, b.layer_id, a.image
),
nearest as (
    select
        c.recording_id,
        c.number,
        round(c.product / (m.norm * q.norm), 9) as similarity
    from compared as c
    join stored_image_norm as m
        on m.recording_id = c.recording_id
        and m.layer_id = c.layer_id
        and m.image = c.number
    cross join (select sqrt(list_sum(list_transform(pieces, lambda p: list_inner_product(p, p)))) as norm from asked) as q
    where m.norm > 0
        and q.norm > 0
        and (c.number != image or among != dataset)
    order by similarity desc, c.number
    limit k
)
select
    row_number() over (order by s.similarity desc, s.number) as rank,
    s.number as image,
    s.similarity,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name
from nearest as s
join stored_prediction as p
    on p.recording_id = s.recording_id
    and p.image = s.number
order by rank;
comment on macro table similar_images is 'The k images of dataset `among` whose activations of a layer are most like those of an image of a dataset, by cosine: similar_images(model, layer, dataset, image, among, k). Not the image itself, nor images that activate nothing; rounded to 9 digits, ties to the lower image.';

create macro similar_images_on(model, layer, dataset, image, neurons, among, k) as table
with asked as (
    select
        a.layer_id,
        a.neuron,
        cast(a.value as double) as value
    from stored_value as a
    join stored_named_layer as n using (recording_id, layer_id)
    where n.model_name = model
        and n.layer_name = layer
        and n.dataset_name = dataset
        and list_contains(neurons, a.neuron)
        and a.image = image
),
nearest as (
    select
        a.recording_id,
        a.image as number,
        round(sqrt(sum(pow(cast(a.value as double) - q.value, 2))), 9) as distance
    from stored_value as a
    join asked as q
        on q.layer_id = a.layer_id
        and q.neuron = a.neuron
    join stored_named_layer as n
        on n.recording_id = a.recording_id
        and n.layer_id = a.layer_id
    where n.dataset_name = among
        and (a.image != image or among != dataset)
    group by a.recording_id, a.image
    order by distance, number
    limit k
)
select
    row_number() over (order by s.distance, s.number) as rank,
    s.number as image,
    s.distance,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name
from nearest as s
join stored_prediction as p
    on p.recording_id = s.recording_id
    and p.image = s.number
order by rank;
comment on macro table similar_images_on is 'The k images of dataset `among` nearest to an image of a dataset in the activations of some neurons, by Euclidean distance: similar_images_on(model, layer, dataset, image, [neurons], among, k). Not the image itself; rounded to 9 digits, ties to the lower image.';
