-- title: Confusion matrix of a dataset
-- How many images of each label got each prediction, the most frequent mistakes first.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter mistakes_only: integer, default 0, example 1 - 1 leaves out right predictions.
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
-- column images: number of images
-- column share: share of the images with this label, 0..1
select
    c.label,
    c.label_name,
    c.predicted,
    c.predicted_name,
    c.images,
    c.images / cast(sum(c.images) over (partition by c.label) as double) as share
from confusion as c
where c.model = $model
    and c.dataset = $dataset
qualify $mistakes_only = 0
    or c.label != c.predicted
order by c.label = c.predicted, c.images desc, c.label, c.predicted
