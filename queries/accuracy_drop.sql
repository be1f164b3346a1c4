-- title: Accuracy drop by category
-- Recall of each category in the reference and in every other dataset, the largest drop first.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- column dataset: name of the dataset
-- column category: category id
-- column category_name: name of the category
-- column reference_recall: recall in the model's default reference, 0..1
-- column recall: recall in the dataset, 0..1
-- column drop: reference_recall less recall
-- column images: images of the dataset with this label
select
    a.dataset,
    a.category,
    a.category_name,
    r.recall as reference_recall,
    a.recall,
    round(r.recall - a.recall, 12) as drop,
    a.images
from accuracy as a
join model as m
    on m.model = a.model
    and m.reference != a.dataset
join accuracy as r
    on r.model = a.model
    and r.dataset = m.reference
    and r.category = a.category
where a.model = $model
order by drop desc nulls last, a.dataset, a.category
