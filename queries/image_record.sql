-- title: An image
-- What is known about an image, and what a model predicted for it.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter image: integer, from 0, example 0 - Number of the image, from 0.
-- column image: number of the image
-- column images: number of images in the dataset
-- column label: ground-truth category id; NULL when unknown
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
-- column confidence: probability of the prediction, 0..1
-- column correct: whether the prediction is the label; NULL when the label is unknown
-- column width: pixels of the original picture
-- column height: pixels of the original picture
-- column uri: where the original lies, when that is known
-- column metadata: free fields of the image, a JSON object
-- column thumbnail_type: media type of the thumbnail; NULL without one
-- column original_type: media type of the original; NULL when it was not kept
-- column thumbnail: the small picture, encoded
select
    p.image,
    d.images,
    p.label,
    p.label_name,
    p.predicted,
    p.predicted_name,
    p.confidence,
    p.predicted = p.label as correct,
    i.width,
    i.height,
    i.uri,
    i.metadata,
    i.thumbnail_type,
    i.original_type,
    i.thumbnail
from stored_named_recording as n
join stored_dataset as d using (dataset_id)
join stored_prediction as p
    on p.recording_id = n.recording_id
    and p.image = $image
join stored_image as i
    on i.dataset_id = n.dataset_id
    and i.image = $image
where n.model_name = $model
    and n.dataset_name = $dataset
order by p.image
