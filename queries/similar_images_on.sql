-- title: Images most like an image to some neurons
-- The images nearest to an image in the activations of some neurons of a layer, by Euclidean distance.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter dataset: varchar, example Permuted - Name of the dataset of the image.
-- parameter image: integer, from 0, example 0 - Number of the image, from 0.
-- parameter neurons: varchar, example [3, 4] - Numbers of the neurons, a JSON list.
-- parameter among: varchar, default null, example Drifted - Name of the dataset to look in; left out, the image's own.
-- parameter k: integer, from 1, default 20, example 10 - How many images at most.
-- column rank: 1 and on: distance ascending, then image ascending
-- column image: number of the image
-- column distance: Euclidean distance of the activations, rounded to 9 digits
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
select
    rank,
    image,
    distance,
    label,
    label_name,
    predicted,
    predicted_name
from similar_images_on(
    $model,
    $layer,
    $dataset,
    $image,
    from_json($neurons, '["integer"]'),
    coalesce($among, $dataset),
    $k
)
order by rank
