-- Make a dataset the default reference of a model.
update stored_model
set reference_dataset_id = (select dataset_id from stored_dataset where name = $dataset)
where name = $model
returning model_id
