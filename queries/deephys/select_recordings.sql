-- The recordings of a model, in the order recorded, with what is known of their images.
select
    r.recording_id,
    r.dataset_id,
    d.name as dataset,
    r.output_layer_id,
    r.output_kind,
    count(*) as images,
    count(i.label) as labels,
    count(i.thumbnail) as pictures,
    count(distinct (i.width, i.height)) filter (i.thumbnail is not null) as sizes,
    count(i.uri) as uris
from stored_recording as r
join stored_model as m using (model_id)
join stored_dataset as d using (dataset_id)
join stored_image as i using (dataset_id)
where m.name = $model
group by all
order by r.recording_id
