-- Done with what was gathered.
drop table if exists incoming_experiment;
drop table if exists incoming_param;
drop table if exists incoming_metric;
drop table if exists incoming_tag;
