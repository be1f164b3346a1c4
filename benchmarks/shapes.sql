-- Questions as users write them (`asked`), each with the best form that we know for the same answer on the same tables
-- (`best`), by ids and pieces, as SQL that a person would write: no lists of 64 terms, which take up to a third less where all
-- activations of a layer are read. benchmarks/shapes.py compares their times, tests/test_shapes.py the rows that they scan.
-- The store: model net, layer features, datasets day (the reference) and night. $night_piece to $night_last are the pieces of
-- its features; neurons 7 and 9 are elements 8 and 10 of the first.

-- shape: one neuron
-- asked
select image, value
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 7
-- best
select image, cast(values as float[])[8]
from stored_activation
where piece = $night_piece

-- shape: one neuron, largest first
-- asked
select image, value
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 7
order by value desc, image
limit 100
-- best
select image, cast(values as float[])[8] as value
from stored_activation
where piece = $night_piece
order by value desc, image
limit 100

-- shape: a list of neurons
-- asked
select neuron, avg(value)
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and neuron in (3, 50, 200)
group by neuron
-- best
select 3 as neuron, avg(cast(values as float[])[4])
from stored_activation
where piece = $night_piece + 0
group by neuron
union all
select 50 as neuron, avg(cast(values as float[])[51])
from stored_activation
where piece = $night_piece + 0
group by neuron
union all
select 200 as neuron, avg(cast(values as float[])[9])
from stored_activation
where piece = $night_piece + 3
group by neuron

-- shape: a range of neurons
-- asked
select neuron, max(value)
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and neuron between 10 and 19
group by neuron
-- best
select e.element - 1, max(a.values[e.element])
from (select cast(values as float[]) as values from stored_activation where piece = $night_piece) as a
cross join range(11, 21) as e(element)
group by 1

-- shape: one image
-- asked
select neuron, value
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and image = 77
-- best
select (a.piece - $night_piece) * 64 + e.element - 1 as neuron, a.values[e.element]
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last and image = 77
) as a
cross join range(1, 65) as e(element)

-- shape: the responses to one image, largest first
-- asked
select neuron, response
from response
where model = 'net' and layer = 'features' and dataset = 'night' and image = 77
order by response desc, neuron
limit 20
-- best
select x.neuron, case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double)
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last and image = 77
) as a
join stored_neuron as x using (piece)
order by 2 desc, 1
limit 20

-- shape: a list of images
-- asked
select neuron, avg(response)
from response
where model = 'net' and layer = 'features' and dataset = 'night' and image in (5, 500, 4000)
group by neuron
-- best
select x.neuron, avg(case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double))
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last and image in (5, 500, 4000)
) as a
join stored_neuron as x using (piece)
group by x.neuron

-- shape: a range of images
-- asked
select neuron, avg(value)
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and image >= 1000 and image < 1100
group by neuron
-- best
select (a.piece - $night_piece) * 64 + e.element - 1 as neuron, avg(a.values[e.element])
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last and image between 1000 and 1099
) as a
cross join range(1, 65) as e(element)
group by neuron

-- shape: one activation
-- asked
select value
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 7 and image = 77
-- best
select cast(values as float[])[8]
from stored_activation
where piece = $night_piece and image = 77

-- shape: neurons chosen by their score
-- asked
select a.neuron, max(a.value)
from activation as a
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night'
    and a.neuron in (select neuron from neuron_score where layer = 'features' and dataset = 'night' order by spurious desc, neuron limit 5)
group by a.neuron
-- best
select x.neuron, max(a.values[x.element])
from (select piece, cast(values as float[]) as values from stored_activation) as a
join stored_neuron as x using (piece)
where x.recording_id = $night and x.layer_id = $features
    and x.neuron in (select neuron from stored_neuron_score where recording_id = $night and layer_id = $features order by spurious desc, neuron limit 5)
group by x.neuron

-- shape: neurons chosen by their score, joined
-- asked
select a.neuron, max(a.value)
from (select * from neuron_score where layer = 'features' and dataset = 'night' order by spurious desc, neuron limit 5) as s
join activation as a using (model, layer, dataset, neuron)
group by a.neuron
-- best
select x.neuron, max(a.values[x.element])
from (select piece, cast(values as float[]) as values from stored_activation) as a
join stored_neuron as x using (piece)
where x.recording_id = $night and x.layer_id = $features
    and x.neuron in (select neuron from stored_neuron_score where recording_id = $night and layer_id = $features order by spurious desc, neuron limit 5)
group by x.neuron

-- shape: responses of neurons chosen by their score
-- asked
select neuron, max(response)
from response
where model = 'net' and layer = 'features' and dataset = 'night'
    and neuron in (select neuron from neuron_score where layer = 'features' and dataset = 'night' order by spurious desc, neuron limit 5)
group by neuron
-- best
select x.neuron, max(case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double))
from (select piece, cast(values as float[]) as values from stored_activation) as a
join stored_neuron as x using (piece)
where x.recording_id = $night and x.layer_id = $features
    and x.neuron in (select neuron from stored_neuron_score where recording_id = $night and layer_id = $features order by spurious desc, neuron limit 5)
group by x.neuron

-- shape: wrong images of a category, semi-joined
-- asked
select neuron, avg(response)
from response
where model = 'net' and layer = 'features' and dataset = 'night'
    and image in (select image from prediction where model = 'net' and dataset = 'night' and label = 3 and not correct)
group by neuron
-- best
select x.neuron, avg(case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double))
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last
        and image in (
            select i.image
            from stored_image as i
            join stored_prediction as p on p.recording_id = $night and p.image = i.image
            where i.dataset_id = $night_set and i.label = 3 and p.predicted != 3
        )
) as a
join stored_neuron as x using (piece)
group by x.neuron

-- shape: wrong images of a category, prediction joined to response
-- asked
select r.neuron, avg(r.response)
from response as r
join prediction as p using (model, dataset, image)
where r.model = 'net' and r.layer = 'features' and r.dataset = 'night' and p.label = 3 and not p.correct
group by r.neuron
-- best
select x.neuron, avg(case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double))
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last
        and image in (
            select i.image
            from stored_image as i
            join stored_prediction as p on p.recording_id = $night and p.image = i.image
            where i.dataset_id = $night_set and i.label = 3 and p.predicted != 3
        )
) as a
join stored_neuron as x using (piece)
group by x.neuron

-- shape: wrong images of a category, response joined to prediction
-- asked
select r.neuron, avg(r.response)
from prediction as p
join response as r on r.model = p.model and r.dataset = p.dataset and r.image = p.image
where p.model = 'net' and p.dataset = 'night' and p.label = 3 and not p.correct and r.layer = 'features'
group by r.neuron
-- best
select x.neuron, avg(case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double))
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last
        and image in (
            select i.image
            from stored_image as i
            join stored_prediction as p on p.recording_id = $night and p.image = i.image
            where i.dataset_id = $night_set and i.label = 3 and p.predicted != 3
        )
) as a
join stored_neuron as x using (piece)
group by x.neuron

-- shape: a neuron by label
-- asked
select i.label_name, avg(a.value)
from activation as a
join image as i using (dataset, image)
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7
group by i.label_name
-- best
select c.name, avg(a.value)
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
join stored_category as c on c.category_list_id = 1 and c.category = i.label
group by c.name

-- shape: a neuron by label, the image first
-- asked
select i.label_name, avg(a.value)
from image as i
join activation as a using (dataset, image)
where a.model = 'net' and a.layer = 'features' and i.dataset = 'night' and a.neuron = 7
group by i.label_name
-- best
select c.name, avg(a.value)
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
join stored_category as c on c.category_list_id = 1 and c.category = i.label
group by c.name

-- shape: a neuron, right against wrong
-- asked
select p.correct, count(*), avg(r.response)
from response as r
join prediction as p using (model, dataset, image)
where r.layer = 'features' and r.neuron = 7 and r.dataset = 'night' and r.model = 'net'
group by p.correct
-- best
select p.predicted = i.label, count(*), avg(case when a.value > 0 then a.value else 0 end / cast(nullif(s.max, 0) as double))
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_neuron_summary as s on s.recording_id = $day and s.layer_id = $features and s.neuron = 7
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
join stored_prediction as p on p.recording_id = $night and p.image = a.image
group by 1

-- shape: a neuron among images with a value of metadata
-- asked
select count(*), avg(a.value)
from activation as a
join image as i using (dataset, image)
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7 and i.metadata ->> 'camera' = 'left'
-- best
select count(*), avg(a.value)
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
where i.metadata ->> 'camera' = 'left'

-- shape: a neuron by bucket of metadata
-- asked
select floor(cast(i.metadata ->> 'brightness' as double) * 10) as bucket, avg(r.response)
from response as r
join image as i using (dataset, image)
where r.model = 'net' and r.layer = 'features' and r.dataset = 'night' and r.neuron = 7
group by bucket
-- best
select floor(cast(i.metadata ->> 'brightness' as double) * 10) as bucket, avg(case when a.value > 0 then a.value else 0 end / cast(nullif(s.max, 0) as double))
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_neuron_summary as s on s.recording_id = $day and s.layer_id = $features and s.neuron = 7
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
group by bucket

-- shape: top images of a neuron in each dataset, by a window
-- asked
select dataset, image, value
from activation
where model = 'net' and layer = 'features' and neuron = 7
qualify row_number() over (partition by dataset order by value desc, image) <= 5
-- best
select d.name, a.image, a.value
from (
    select piece, image, cast(values as float[])[8] as value
    from stored_activation
    where piece in ($day_piece, $night_piece)
) as a
join stored_piece as l on l.first_piece = a.piece
join stored_recording as r using (recording_id)
join stored_dataset as d using (dataset_id)
qualify row_number() over (partition by r.dataset_id order by a.value desc, a.image) <= 5

-- shape: top images of a neuron for each label, by a window
-- asked
select p.label_name, a.image, a.value
from activation as a
join prediction as p using (model, dataset, image)
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7
qualify row_number() over (partition by p.label order by a.value desc, a.image) <= 3
-- best
select c.name, a.image, a.value
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
join stored_category as c on c.category_list_id = 1 and c.category = i.label
qualify row_number() over (partition by i.label order by a.value desc, a.image) <= 3

-- shape: top images of a neuron for each label, by max_by
-- asked
select p.label, max_by(a.image, (a.value, -a.image), 3)
from activation as a
join prediction as p using (model, dataset, image)
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7
group by p.label
-- best
select i.label, max_by(a.image, (a.value, -a.image), 3)
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
group by i.label

-- shape: correlation of two neurons, joined
-- asked
select corr(a.value, b.value)
from activation as a
join activation as b using (model, layer, dataset, image)
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7 and b.neuron = 9
-- best
select corr(values[8], values[10])
from (select cast(values as float[]) as values from stored_activation where piece = $night_piece)

-- shape: correlation of two neurons, pivoted
-- asked
select corr(x, y)
from (
    select image, max(value) filter (where neuron = 7) as x, max(value) filter (where neuron = 9) as y
    from activation
    where model = 'net' and layer = 'features' and dataset = 'night' and neuron in (7, 9)
    group by image
)
-- best
select corr(values[8], values[10])
from (select cast(values as float[]) as values from stored_activation where piece = $night_piece)

-- shape: correlation of a neuron with all others
-- asked
select b.neuron, corr(a.value, b.value)
from activation as a
join activation as b using (model, layer, dataset, image)
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7
group by b.neuron
-- best
select (b.piece - $night_piece) * 64 + e.element - 1 as neuron, corr(b.value, b.values[e.element])
from (
    select b.piece, cast(b.values as float[]) as values, a.value
    from stored_activation as b
    join (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a using (image)
    where b.piece between $night_piece and $night_last
) as b
cross join range(1, 65) as e(element)
group by neuron

-- shape: a histogram
-- asked
select floor(value * 10) as bin, count(*)
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 7
group by bin
-- best
select floor(cast(values as float[])[8] * 10) as bin, count(*)
from stored_activation
where piece = $night_piece
group by bin

-- shape: quantiles of a neuron in each dataset
-- asked
select dataset, quantile_cont(value, [0.25, 0.5, 0.75])
from activation
where model = 'net' and layer = 'features' and neuron = 7
group by dataset
-- best
select d.name, quantile_cont(a.value, [0.25, 0.5, 0.75])
from (
    select piece, image, cast(values as float[])[8] as value
    from stored_activation
    where piece in ($day_piece, $night_piece)
) as a
join stored_piece as l on l.first_piece = a.piece
join stored_recording as r using (recording_id)
join stored_dataset as d using (dataset_id)
group by d.name

-- shape: the difference between datasets, of every neuron
-- asked
select neuron, avg(value) filter (where dataset = 'day') - avg(value) filter (where dataset = 'night') as difference
from activation
where model = 'net' and layer = 'features' and dataset in ('day', 'night')
group by neuron
order by difference desc, neuron
limit 20
-- best
select neuron, day.mean - night.mean as difference
from (
    select (a.piece - $day_piece) * 64 + e.element - 1 as neuron, avg(a.values[e.element]) as mean
    from (select piece, cast(values as float[]) as values from stored_activation where piece between $day_piece and $day_last) as a
    cross join range(1, 65) as e(element)
    group by neuron
) as day
join (
    select (a.piece - $night_piece) * 64 + e.element - 1 as neuron, avg(a.values[e.element]) as mean
    from (select piece, cast(values as float[]) as values from stored_activation where piece between $night_piece and $night_last) as a
    cross join range(1, 65) as e(element)
    group by neuron
) as night using (neuron)
order by difference desc, neuron
limit 20

-- shape: the difference between datasets, from the summaries
-- asked
select s.neuron, s.mean - t.mean as difference
from neuron_summary as s
join neuron_summary as t using (model, layer, neuron)
where s.model = 'net' and s.layer = 'features' and s.dataset = 'day' and t.dataset = 'night'
order by difference desc, s.neuron
limit 20
-- best
select s.neuron, s.mean - t.mean as difference
from stored_neuron_summary as s
join stored_neuron_summary as t on t.recording_id = $night and t.layer_id = $features and t.neuron = s.neuron
where s.recording_id = $day and s.layer_id = $features
order by difference desc, s.neuron
limit 20

-- shape: mean of every neuron
-- asked
select neuron, avg(value)
from activation
where model = 'net' and layer = 'features' and dataset = 'night'
group by neuron
-- best
select (a.piece - $night_piece) * 64 + e.element - 1 as neuron, avg(a.values[e.element])
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last
) as a
cross join range(1, 65) as e(element)
group by neuron

-- shape: mean response of every neuron to every label
-- asked
select r.neuron, i.label, avg(r.response)
from response as r
join image as i using (dataset, image)
where r.model = 'net' and r.layer = 'features' and r.dataset = 'night' and r.neuron < 40
group by r.neuron, i.label
-- best
select x.neuron, i.label, avg(case when a.values[x.element] > 0 then a.values[x.element] else 0 end / cast(nullif(x.reference_max, 0) as double))
from (
    select piece, image, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_piece + 1
) as a
join stored_image as i on i.dataset_id = $night_set and i.image = a.image
join stored_neuron as x using (piece)
where x.neuron < 40
group by x.neuron, i.label

-- shape: the first image of every neuron
-- asked
select neuron, image, label_name
from top_image
where model = 'net' and layer = 'features' and dataset = 'night' and rank = 1
-- best
select t.neuron, t.image, c.name
from stored_top_image as t
join stored_image as i on i.dataset_id = $night_set and i.image = t.image
join stored_category as c on c.category_list_id = 1 and c.category = i.label
where t.recording_id = $night and t.layer_id = $features and t.rank = 1

-- shape: the share of wrong images among the first 20 of every neuron
-- asked
select t.neuron, avg(cast(not p.correct as integer)) as wrong
from top_image as t
join prediction as p using (model, dataset, image)
where t.model = 'net' and t.layer = 'features' and t.dataset = 'night' and t.rank <= 20
group by t.neuron
-- best
select t.neuron, avg(cast(p.predicted != i.label as integer)) as wrong
from stored_top_image as t
join stored_image as i on i.dataset_id = $night_set and i.image = t.image
join stored_prediction as p on p.recording_id = $night and p.image = t.image
where t.recording_id = $night and t.layer_id = $features and t.rank <= 20
group by t.neuron

-- shape: scores with the strongest category
-- asked
select s.neuron, s.spurious, max_by(c.category_name, c.response)
from neuron_score as s
join category_response as c using (model, layer, neuron, dataset)
where s.model = 'net' and s.layer = 'features' and s.dataset = 'night' and s.spurious > 0.5
group by s.neuron, s.spurious
-- best
select s.neuron, s.spurious, max_by(k.name, c.response_sum / c.images)
from stored_neuron_score as s
join stored_category_response as c on c.recording_id = $night and c.layer_id = $features and c.neuron = s.neuron
join stored_category as k on k.category_list_id = 1 and k.category = c.category
where s.recording_id = $night and s.layer_id = $features and s.spurious > 0.5
group by s.neuron, s.spurious

-- shape: the strongest category of every neuron, by a window
-- asked
select neuron, category_name, response
from category_response
where model = 'net' and layer = 'features' and dataset = 'night'
qualify row_number() over (partition by neuron order by response desc, category) = 1
-- best
select c.neuron, k.name, c.response_sum / c.images / cast(nullif(s.max, 0) as double)
from stored_category_response as c
join stored_neuron_summary as s on s.recording_id = $day and s.layer_id = $features and s.neuron = c.neuron
join stored_category as k on k.category_list_id = 1 and k.category = c.category
where c.recording_id = $night and c.layer_id = $features
qualify row_number() over (partition by c.neuron order by c.response_sum / c.images / cast(nullif(s.max, 0) as double) desc, c.category) = 1

-- shape: the most frequent confusions
-- asked
select label_name, predicted_name, images
from confusion
where model = 'net' and dataset = 'night' and label != predicted
order by images desc, label, predicted
limit 20
-- best
select label_name, predicted_name, count(*) as images
from stored_prediction
where recording_id = $night and label != predicted
group by label, label_name, predicted, predicted_name
order by images desc, label, predicted
limit 20

-- shape: accuracy of every dataset
-- asked
select dataset, avg(cast(correct as integer))
from prediction
where model = 'net'
group by dataset
-- best
select d.name, avg(cast(p.predicted = i.label as integer))
from stored_prediction as p
join stored_recording as r using (recording_id)
join stored_dataset as d using (dataset_id)
join stored_image as i on i.dataset_id = r.dataset_id and i.image = p.image
group by d.name

-- shape: images that two neurons fire for
-- asked
select a.image
from activation as a
where a.model = 'net' and a.layer = 'features' and a.dataset = 'night' and a.neuron = 7 and a.value > 1
    and exists (
        select 1
        from activation as b
        where b.model = a.model and b.layer = a.layer and b.dataset = a.dataset and b.image = a.image and b.neuron = 9 and b.value > 1
    )
-- best
with a as materialized (
    select image, values[8] as x, values[10] as y
    from (select image, cast(values as float[]) as values from stored_activation where piece = $night_piece)
)
select image
from a
where x > 1 and y > 1

-- shape: images that two neurons fire for, intersected
-- asked
select image from activation where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 7 and value > 1
intersect
select image from activation where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 9 and value > 1
-- best
with a as materialized (
    select image, values[8] as x, values[10] as y
    from (select image, cast(values as float[]) as values from stored_activation where piece = $night_piece)
)
select image
from a
where x > 1 and y > 1

-- shape: wrong images that are not among the first of a neuron
-- asked
select p.image
from prediction as p
where p.model = 'net' and p.dataset = 'night' and not p.correct
    and p.image not in (select image from top_image where model = 'net' and layer = 'features' and dataset = 'night' and neuron = 7)
-- best
select p.image
from stored_prediction as p
join stored_image as i on i.dataset_id = $night_set and i.image = p.image
where p.recording_id = $night and i.label != p.predicted
    and p.image not in (select image from stored_top_image where recording_id = $night and layer_id = $features and neuron = 7)

-- shape: how many images a neuron fires for, of every neuron
-- asked
select neuron, count(*) filter (where response > 0.5)
from response
where model = 'net' and layer = 'features' and dataset = 'night'
group by neuron
-- best
select neuron, count(*) filter (where case when value > 0 then value else 0 end / scale > 0.5)
from (
    select x.neuron, a.values[x.element] as value, x.scale
    from (select piece, image, cast(values as float[]) as values from stored_activation) as a
    join (
        select neuron, piece, element, cast(nullif(reference_max, 0) as double) as scale
        from stored_neuron
        where recording_id = $night and layer_id = $features
    ) as x using (piece)
)
group by neuron

-- shape: images that nothing fires for
-- asked
select image
from response
where model = 'net' and layer = 'features' and dataset = 'night'
group by image
having max(response) < 0.9
-- best
select image
from (
    select a.image, a.values[x.element] as value, x.scale
    from (select piece, image, cast(values as float[]) as values from stored_activation) as a
    join (
        select neuron, piece, element, cast(nullif(reference_max, 0) as double) as scale
        from stored_neuron
        where recording_id = $night and layer_id = $features
    ) as x using (piece)
)
group by image
having max(case when value > 0 then value else 0 end / scale) < 0.9

-- shape: the same image in two datasets
-- asked
select a.image, b.value - a.value as change
from activation as a
join activation as b using (model, layer, neuron, image)
where a.model = 'net' and a.layer = 'features' and a.neuron = 7 and a.dataset = 'day' and b.dataset = 'night'
order by change, a.image
limit 20
-- best
select a.image, b.value - a.value as change
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $day_piece) as a
join (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as b using (image)
order by change, a.image
limit 20

-- shape: a neuron by confidence
-- asked
select floor(p.confidence * 10) as bucket, avg(r.response)
from prediction as p
join response as r using (model, dataset, image)
where p.model = 'net' and p.dataset = 'night' and r.layer = 'features' and r.neuron = 7
group by bucket
-- best
select floor(p.confidence * 10) as bucket, avg(case when a.value > 0 then a.value else 0 end / cast(nullif(s.max, 0) as double))
from (select image, cast(values as float[])[8] as value from stored_activation where piece = $night_piece) as a
join stored_neuron_summary as s on s.recording_id = $day and s.layer_id = $features and s.neuron = 7
join stored_prediction as p on p.recording_id = $night and p.image = a.image
group by bucket

-- shape: a set of images used twice
-- asked
with wrong as (select image from prediction where model = 'net' and dataset = 'night' and label = 3 and not correct)
select neuron, avg(value), (select count(*) from wrong)
from response
where model = 'net' and layer = 'features' and dataset = 'night' and image in (from wrong)
group by neuron
-- best
with wrong as (
    select i.image
    from stored_image as i
    join stored_prediction as p on p.recording_id = $night and p.image = i.image
    where i.dataset_id = $night_set and i.label = 3 and p.predicted != 3
)
select (a.piece - $night_piece) * 64 + e.element - 1 as neuron, avg(a.values[e.element]), (select count(*) from wrong)
from (
    select piece, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last and image in (from wrong)
) as a
cross join range(1, 65) as e(element)
group by neuron

-- shape: scores beside the parameters of runs
-- asked
select p.value, avg(s.spurious)
from neuron_score as s
join experiment_param as p using (model)
where s.layer = 'features' and s.dataset = 'night' and p.name = 'weight_decay'
group by p.value
-- best
select p.value, avg(s.spurious)
from stored_neuron_score as s
cross join (select value from stored_experiment_param where name = 'weight_decay') as p
where s.recording_id = $night and s.layer_id = $features
group by p.value

-- shape: scores beside the parameters of runs, the parameters first
-- asked
select p.value, avg(s.spurious)
from experiment_param as p
join neuron_score as s on s.model = p.model
where p.name = 'weight_decay' and s.dataset = 'night' and s.layer = 'features'
group by p.value
-- best
select p.value, avg(s.spurious)
from stored_neuron_score as s
cross join (select value from stored_experiment_param where name = 'weight_decay') as p
where s.recording_id = $night and s.layer_id = $features
group by p.value

-- shape: how many activations are large
-- asked
select count(*)
from activation
where model = 'net' and layer = 'features' and dataset = 'night' and value > 3
-- best
select sum(len(list_filter(cast(values as float[]), lambda value: value > 3)))
from stored_activation
where piece between $night_piece and $night_last

-- shape: the largest activations of a dataset
-- asked
select neuron, image, value
from activation
where model = 'net' and layer = 'features' and dataset = 'night'
order by value desc
limit 10
-- best
select x.neuron, a.image, a.values[x.element]
from (
    select piece, image, cast(values as float[]) as values
    from stored_activation
    where piece between $night_piece and $night_last
    order by list_max(cast(values as float[])) desc
    limit 10
) as a
join stored_neuron as x using (piece)
order by 3 desc
limit 10
