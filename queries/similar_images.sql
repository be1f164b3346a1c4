-- title: Images most like an image
-- The images whose activations of a layer are most like those of an image, by the cosine of the angle between them.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset of the image.
-- parameter image: integer, from 0, example 0 - Number of the image, from 0.
-- parameter among: varchar, default null, example Drifted - Name of the dataset to look in; left out, the image's own.
-- parameter k: integer, from 1, default 20, example 10 - How many images at most.
-- column rank: 1 and on: similarity descending, then image ascending
-- column image: number of the image
-- column similarity: cosine of the activations, sign kept, -1..1, rounded to 9 digits
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
select
    rank,
    image,
    similarity,
    label,
    label_name,
    predicted,
    predicted_name
from similar_images($model, $layer, $dataset, $image, coalesce($among, $dataset), $k)
order by rank
