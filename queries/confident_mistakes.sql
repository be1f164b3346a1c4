-- title: Images most wrong
-- Wrongly predicted images of a dataset, the most confident first.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter dataset: varchar, example Permuted - Name of the dataset.
-- parameter k: integer, from 1, default 25, example 10 - How many images at most.
-- column image: number of the image
-- column label_name: name of the ground-truth category
-- column predicted_name: name of the predicted category
-- column confidence: probability of the prediction, 0..1
-- column metadata: free fields of the image, a JSON object
select
    p.image,
    p.label_name,
    p.predicted_name,
    p.confidence,
    i.metadata
from prediction as p
join image as i
    on i.dataset = p.dataset
    and i.image = p.image
where p.model = $model
    and p.dataset = $dataset
    and not p.correct
order by p.confidence desc nulls last, p.image
limit $k
