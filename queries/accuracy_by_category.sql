-- title: Accuracy of every category in every dataset
-- Recall and precision of each category, and the counts behind them.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- column dataset: name of the dataset
-- column category: category id
-- column category_name: name of the category
-- column images: images with this label
-- column right: images with this label that were predicted so
-- column false_negatives: images with this label that were predicted otherwise
-- column false_positives: images with another label that were predicted so
-- column recall: right / images, 0..1; NULL without such images
-- column precision: right / (right + false_positives), 0..1; NULL without such images
with counted as materialized (
    select
        c.dataset,
        c.label,
        c.predicted,
        c.images
    from confusion as c
    where c.model = $model
),
total as (
    select
        k.dataset,
        k.category,
        cast(sum(k.labelled) as bigint) as labelled,
        cast(sum(k.predicted) as bigint) as predicted,
        cast(sum(k.both) as bigint) as both
    from (
        select
            n.dataset,
            n.label as category,
            n.images as labelled,
            0 as predicted,
            case when n.label = n.predicted then n.images else 0 end as both
        from counted as n
        union all
        select
            n.dataset,
            n.predicted,
            0,
            n.images,
            0
        from counted as n
    ) as k
    group by k.dataset, k.category
)
select
    r.dataset,
    c.category,
    c.category_name,
    coalesce(t.labelled, 0) as images,
    coalesce(t.both, 0) as right,
    coalesce(t.labelled - t.both, 0) as false_negatives,
    coalesce(t.predicted - t.both, 0) as false_positives,
    t.both / nullif(cast(t.labelled as double), 0) as recall,
    t.both / nullif(cast(t.predicted as double), 0) as precision
from recording as r
join model as m on m.model = r.model
join category as c on c.category_list = m.category_list
left join total as t
    on t.dataset = r.dataset
    and t.category = c.category
where r.model = $model
order by r.dataset, c.category
