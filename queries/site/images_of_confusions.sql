-- title: The first images of some confusions
-- For the small pictures of confusions: labels and predictions in two lists, pair by pair; the k most confident images of each.
select
    p.label,
    p.predicted,
    p.label_name,
    p.predicted_name,
    p.image,
    p.confidence
from prediction as p
join (
    select
        unnest($labels) as label,
        unnest($predictions) as predicted
) as w using (label, predicted)
where p.model = $model
    and p.dataset = $dataset
qualify row_number() over (partition by p.label, p.predicted order by p.confidence desc nulls last, p.image) <= $k
order by p.label, p.predicted, p.confidence desc nulls last, p.image
