-- The model and the checkpoint that each run names, in the tags or parameters of these names.
update incoming_experiment as e
set
    model_name = coalesce(
        (select any_value(t.value) from incoming_tag as t where t.run = e.run and t.name = $model),
        (select any_value(p.value) from incoming_param as p where p.run = e.run and p.name = $model)
    ),
    checkpoint = coalesce(
        (select any_value(t.value) from incoming_tag as t where t.run = e.run and t.name = $checkpoint),
        (select any_value(p.value) from incoming_param as p where p.run = e.run and p.name = $checkpoint)
    )
