-- title: Accuracy of every dataset
-- Accuracy of each model on each dataset, and the drop from the model's reference.
-- column model: name of the model
-- column dataset: name of the dataset
-- column is_reference: whether it is the model's default reference
-- column images: images with a known label
-- column accuracy: share predicted right, 0..1
-- column drop: accuracy on the reference less accuracy here
select
    a.model,
    a.dataset,
    a.dataset = m.reference as is_reference,
    a.images,
    a.accuracy,
    r.accuracy - a.accuracy as drop
from dataset_accuracy as a
join model as m on m.model = a.model
left join dataset_accuracy as r
    on r.model = a.model
    and r.dataset = m.reference
order by a.model, is_reference desc, drop desc, a.dataset
