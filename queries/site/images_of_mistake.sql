-- The images of a dataset with one label and one prediction.
select image
from prediction
where model = $model
    and dataset = $dataset
    and label = $label
    and predicted = $predicted
order by image
