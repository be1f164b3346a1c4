-- What visitors may try. A line `-- expect: ...` begins a case and says how it ends:
--   refused   by reading the statement, before it runs
--   error     by DuckDB, while it is understood or run
--   stopped   at the time or the memory limit
--   contained it may run or not, but within the limits, and nothing of the machine is in what comes back
-- Longer ones are made in test_sandbox.py. {path} is the store's own path.

-- expect: refused
select * from read_csv('/etc/passwd')
-- expect: refused
select * from read_csv_auto('/etc/passwd', sep = ':')
-- expect: refused
select content from read_text('/etc/hostname')
-- expect: refused
select * from read_blob('{path}')
-- expect: refused
from read_blob(['/etc/passwd', '/etc/group'])
-- expect: refused
select * from READ_TEXT('/proc/self/environ')
-- expect: refused
select * from "read_text"('/proc/self/cmdline')
-- expect: refused
select * from system.main.read_text('/proc/self/maps')
-- expect: refused
select * from main.read_text('/proc/1/environ')
-- expect: refused
select (select content from read_text('/etc/passwd'))
-- expect: refused
select * from image where exists (from read_text('/etc/passwd'))
-- expect: refused
with a as (from read_text('/etc/passwd')) select * from a
-- expect: refused
with recursive a as (select 1 as x union all select size from read_text('/etc/passwd')) from a
-- expect: refused
select 1 union all by name from read_text('/etc/passwd')
-- expect: refused
select * from image, lateral (from read_text('/etc/passwd'))
-- expect: refused
select * from range(3) as t(i) positional join read_text('/etc/passwd')
-- expect: refused
select * from image order by (select content from read_text('/etc/passwd')) limit 1
-- expect: refused
from image limit (select size from read_text('/etc/passwd'))
-- expect: refused
describe select * from read_csv('/etc/passwd')
-- expect: refused
summarize from read_csv('/etc/passwd')
-- expect: refused
from (summarize from read_csv('/etc/passwd'))
-- expect: refused
explain select * from read_csv('/etc/passwd')
-- expect: refused
explain analyze select * from read_csv('/etc/passwd')
-- expect: refused
explain (analyze, format json) select * from read_csv('/etc/passwd')
-- expect: refused
/* a */ explain /* b */ select * from read_csv('/etc/passwd')
-- expect: refused
select * from '/etc/passwd'
-- expect: refused
select * from '/etc/passwd.csv'
-- expect: refused
select * from "data.parquet"
-- expect: refused
from 'https://example.org/data.csv'
-- expect: refused
from 's3://bucket/data.parquet'
-- expect: refused
from '../*.json'
-- expect: refused
from 'C:\secret'
-- expect: refused
describe '/etc/passwd.csv'
-- expect: refused
summarize '/etc/passwd.csv'
-- expect: refused
pivot '/etc/passwd.csv' on x in ('a')
-- expect: refused
from (unpivot '/etc/passwd.csv' on a, b)
-- expect: refused
select * from glob('/*')
-- expect: refused
select * from glob(['/etc/*', '/proc/*'])
-- expect: refused
select * from sniff_csv('/etc/passwd')
-- expect: refused
select * from read_parquet('/tmp/x.parquet')
-- expect: refused
select * from parquet_metadata('/tmp/x.parquet')
-- expect: refused
select * from parquet_schema('/tmp/x.parquet')
-- expect: refused
select * from parquet_kv_metadata('/tmp/x.parquet')
-- expect: refused
select * from read_json('/etc/passwd')
-- expect: refused
select * from read_json_objects('/etc/passwd')
-- expect: refused
select * from read_ndjson_auto('/etc/passwd')
-- expect: refused
select * from read_duckdb('{path}')
-- expect: refused
select * from read_single_csv_file('/etc/passwd')
-- expect: refused
select * from read_csv('/dev/stdin')
-- expect: refused
select * from read_csv('https://example.org/x.csv')
-- expect: refused
from read_text('http://169.254.169.254/latest/meta-data/')
-- expect: refused
from arrow_scan(1, 2, 3)
-- expect: refused
from pandas_scan(140000000000000)
-- expect: refused
from python_map_function((from image))
-- expect: error
from connection
-- expect: error
from sys
-- expect: error
from message
-- expect: refused
select getenv('HOME')
-- expect: refused
select 'PATH'.getenv()
-- expect: refused
select list_transform(['HOME'], lambda name: getenv(name))
-- expect: refused
select [getenv(name) for name in ['HOME', 'PATH']]
-- expect: refused
select count(*) filter (where getenv('HOME') is null) from image
-- expect: refused
select * replace (getenv('HOME') as label) from image
-- expect: refused
select current_setting('temp_directory')
-- expect: refused
select system.main.current_setting('allowed_paths')
-- expect: refused
select Current_Setting('home_directory')
-- expect: refused
select getvariable('x')
-- expect: refused
from duckdb_settings()
-- expect: refused
select value from "duckdb_settings"() where name = 'allowed_paths'
-- expect: refused
from duckdb_settings(include_all := true)
-- expect: refused
from pg_catalog.pg_settings
-- expect: refused
from pg_settings
-- expect: refused
from duckdb_databases
-- expect: refused
table duckdb_databases
-- expect: refused
select path from duckdb_databases()
-- expect: refused
from main.duckdb_databases
-- expect: refused
from system.main.duckdb_databases
-- expect: refused
select * from (with duckdb_databases as (select 1) from duckdb_databases), duckdb_databases
-- expect: refused
with duckdb_databases as (select 1) from system.main.duckdb_databases
-- expect: refused
select file from pragma_database_list
-- expect: refused
from pragma_database_size()
-- expect: refused
from pragma_storage_info('stored_image')
-- expect: refused
from pragma_metadata_info()
-- expect: refused
from pragma_platform()
-- expect: refused
from pragma_user_agent()
-- expect: refused
from duckdb_extensions()
-- expect: refused
from duckdb_extension_repositories()
-- expect: refused
from duckdb_secrets()
-- expect: refused
from duckdb_secrets(redact := false)
-- expect: refused
from which_secret('s3://bucket/x', 's3')
-- expect: refused
from duckdb_logs
-- expect: refused
from duckdb_logs_parsed('QueryLog')
-- expect: refused
from duckdb_log_contexts()
-- expect: refused
from duckdb_temporary_files()
-- expect: refused
from duckdb_external_file_cache()
-- expect: refused
from duckdb_variables()
-- expect: refused
from duckdb_prepared_statements()
-- expect: refused
from duckdb_memory()
-- expect: refused
from duckdb_profiling_settings()
-- expect: refused
from duckdb_optimizers()
-- expect: refused
select * from query('select * from read_text(''/etc/passwd'')')
-- expect: refused
select * from query($$from duckdb_settings()$$)
-- expect: refused
select * from query_table('duckdb_databases')
-- expect: refused
select * from query_table(['pg_settings'])
-- expect: refused
from json_execute_serialized_sql(json_serialize_sql('from duckdb_settings()'))
-- expect: refused
select json_serialize_plan('from read_text(''/etc/passwd'')')
-- expect: refused
select * from enable_logging('debug', storage := 'file', storage_path := '/tmp/deephys-hostile.log')
-- expect: refused
select * from enable_profiling(save_location := '/tmp/deephys-hostile.json', format := 'json')
-- expect: refused
from disable_logging()
-- expect: refused
from disable_profiling()
-- expect: refused
from truncate_duckdb_logs()
-- expect: refused
from checkpoint()
-- expect: refused
from force_checkpoint('store')
-- expect: refused
from register_external_resource_type('x', 'y', 'a', 'b', 'c', 'd', 'e')
-- expect: refused
from create_external_resource('x', {'a': 1})
-- expect: refused
from destroy_external_resource('abs', '1')
-- expect: refused
from seq_scan()
-- expect: refused
select write_log('x', level := 'error')
-- expect: refused
select nextval('counter')
-- expect: refused
select setval('counter', 1)
-- expect: refused
select setseed(0.5)
-- expect: refused
select sleep_ms(100000)
-- expect: refused
select pg_sleep(100)
-- expect: refused
select finalize('\x00\x01'::blob)
-- expect: refused
select to_aggregate_state('\x00'::blob)
-- expect: refused
with gone as (delete from stored_image returning *) select * from gone
-- expect: refused
with made as (insert into stored_image values (1) returning *) select count(*) from made
-- expect: refused
with changed as (update stored_image set label = 1 returning *) select * from changed
-- expect: refused
select * from (with gone as (delete from stored_image returning *) select * from gone)
-- expect: refused
explain analyze with gone as (delete from stored_image returning *) select * from gone
-- expect: refused
with copied as (copy image to '/tmp/deephys-hostile.csv') from copied
-- expect: refused
with gone as materialized (truncate stored_image) from gone
-- expect: refused
select * from image where (with gone as (delete from stored_image returning *) select count(*) from gone) > 0
-- expect: refused
from histogram_values(duckdb_databases, path)
-- expect: refused
from histogram('pg_settings', setting)
-- expect: refused
select * from pg_catalog.duckdb_settings
-- expect: refused
select * from information_schema.duckdb_databases
-- expect: refused
from duckdb_settings() with ordinality
-- expect: refused
select sum(1) over (order by getenv('x')) from image
-- expect: refused
select sum(1) over (rows between getenv('x') preceding and current row) from image
-- expect: refused
select 1 limit getenv('x')
-- expect: refused
select columns(lambda c: getenv(c) is null) from image
-- expect: refused
select (['HOME']).list_transform(lambda x: x.getenv())
-- expect: refused
from json_each((select content from read_text('/etc/passwd')))
-- expect: refused
from summary((from read_text('/etc/passwd')))
-- expect: refused
pivot prediction on label in (from read_text('/etc/passwd'))
-- expect: error
select list_aggregate(['HOME'], 'getenv')
-- expect: error
from histogram_of('duckdb_databases', path)
-- expect: error
select * from unnest(glob('/*'))
-- expect: error
select 'x'::inet
-- expect: error
from sqlite_scan('/tmp/x.db', 't')
-- expect: error
from (pragma database_list)
-- expect: error
with a as (call enable_logging()) from a
-- expect: refused
insert into stored_image select * from stored_image
-- expect: refused
insert or replace into stored_model values (1)
-- expect: refused
update stored_image set label = 0
-- expect: refused
delete from stored_image
-- expect: refused
truncate stored_image
-- expect: refused
merge into stored_image using image on true when matched then delete
-- expect: refused
create table t as select 1
-- expect: refused
create temp table t as select 1
-- expect: refused
create or replace temp view image as select 1
-- expect: refused
create macro top_images(model, layer, neuron, dataset, k) as table select 1
-- expect: refused
create or replace temp macro lower(x) as upper(x)
-- expect: refused
create or replace function scores(a) as 1
-- expect: refused
create sequence counter
-- expect: refused
create type mood as enum ('a')
-- expect: refused
create schema s
-- expect: refused
create index i on stored_image (label)
-- expect: refused
create secret (type s3, key_id 'a', secret 'b')
-- expect: refused
drop table stored_image
-- expect: refused
drop view image
-- expect: refused
alter table stored_image add column x int
-- expect: refused
comment on view image is 'hacked'
-- expect: refused
vacuum
-- expect: refused
analyze
-- expect: refused
checkpoint
-- expect: refused
force checkpoint
-- expect: refused
copy image to '/tmp/deephys-hostile.csv'
-- expect: refused
copy (select 1) to '{path}.wal'
-- expect: refused
copy (select 1) to '/dev/stdout'
-- expect: refused
copy stored_image from '/etc/passwd'
-- expect: refused
copy from database demo to other
-- expect: refused
export database '/tmp/deephys-hostile'
-- expect: refused
import database '/tmp'
-- expect: refused
attach '/tmp/x.duckdb'
-- expect: refused
attach '{path}' as other
-- expect: refused
attach ':memory:' as m
-- expect: refused
attach 'https://example.org/x.duckdb'
-- expect: refused
detach demo
-- expect: refused
use memory
-- expect: refused
install httpfs
-- expect: refused
force install spatial from community
-- expect: refused
load httpfs
-- expect: refused
load '/tmp/evil.duckdb_extension'
-- expect: refused
update extensions
-- expect: refused
set memory_limit = '100GB'
-- expect: refused
set global enable_external_access = true
-- expect: refused
set lock_configuration = false
-- expect: refused
set disabled_filesystems = ''
-- expect: refused
set variable x = 1
-- expect: refused
set session threads = 64
-- expect: error
reset all
-- expect: refused
reset threads
-- expect: refused
reset memory_limit
-- expect: refused
pragma database_list
-- expect: refused
pragma memory_limit = '100GB'
-- expect: refused
pragma enable_profiling
-- expect: refused
pragma table_info('stored_image')
-- expect: refused
call pragma_version()
-- expect: refused
call enable_logging()
-- expect: refused
prepare p as select 1
-- expect: refused
execute p
-- expect: refused
deallocate p
-- expect: refused
begin
-- expect: refused
commit
-- expect: refused
rollback
-- expect: refused
explain copy image to '/tmp/deephys-hostile.csv'
-- expect: refused
explain analyze copy image to '/tmp/deephys-hostile.csv'
-- expect: refused
explain analyze insert into stored_image select * from stored_image
-- expect: refused
explain analyze create table t as select 1
-- expect: refused
explain pragma database_list
-- expect: error
explain attach '/tmp/x.duckdb'
-- expect: error
explain explain select 1
-- expect: refused
select 1; select 2
-- expect: refused
select 1; drop table stored_image
-- expect: refused
select 1 /* ; */; -- ;
drop table stored_image
-- expect: refused
select ';' ; attach '/tmp/x.duckdb'
-- expect: refused
select $$;$$; set threads = 1
-- expect: refused
select $a$ '; $$ $a$; copy image to 'x'
-- expect: refused
select E'\'' ; checkpoint
-- expect: refused
select 1 as ";" ; vacuum
-- expect: refused
/* /* nested */ ; */ select 1; begin
-- expect: refused
;;; select 1;;; pragma version;;;
-- expect: refused
-- nothing but a comment; drop table stored_image
-- expect: refused
;
-- expect: refused
pivot prediction on predicted_name using count(*)
-- expect: refused
select * from (pivot prediction on predicted_name using count(*))
-- expect: error
select 1 into outfile '/tmp/x'
-- expect: error
\copy image to 'x'
-- expect: error
.shell id
-- expect: error
!id
-- expect: error
select * from image where
-- expect: error
select * from nowhere
-- expect: error
select 1::pointer
-- expect: error
select ｆｒｏｍ ｉｍａｇｅ
-- expect: error
select * from reａd_text('/etc/passwd')
-- expect: refused
select * from read_text('/etc/passwd')
-- expect: refused
select * from read_text
('/etc/passwd')
-- expect: refused
select * from/**/read_text/**/('/etc/passwd')
-- expect: error
select '‮' || "‮getenv"('HOME')
-- expect: error
select ? + 1
-- expect: error
select $unknown
-- expect: error
select error('/etc/ssh/ssh_host_rsa_key')
-- expect: contained
select * from image where uri like '%' || current_database()
-- expect: contained
select current_user, session_user, current_catalog, current_schema(), current_query(), version(), pg_backend_pid()
-- expect: contained
select inet_server_addr(), inet_server_port(), inet_client_addr(), pg_postmaster_start_time(), pg_conf_load_time()
-- expect: contained
from duckdb_functions()
-- expect: contained
from duckdb_views()
-- expect: contained
from duckdb_tables()
-- expect: contained
from information_schema.schemata
-- expect: contained
from pg_catalog.pg_database
-- expect: contained
from pg_catalog.pg_tablespace
-- expect: contained
show databases
-- expect: contained
show all tables
-- expect: refused
show memory_limit
-- expect: refused
show allowed_paths
-- expect: refused
SHOW "home_directory"
-- expect: refused
show timezone
-- expect: refused
show user
-- expect: refused
from (show allowed_paths)
-- expect: refused
select * from (from (show secret_directory)) as t
-- expect: refused
show variables
-- expect: error
describe allowed_paths
-- expect: error
summarize allowed_paths
-- expect: refused
show duckdb_settings
-- expect: refused
describe duckdb_databases
-- expect: refused
summarize pragma_database_list
-- expect: contained
describe
-- expect: stopped
select count(*) from range(1000000000000)
-- expect: stopped
select sum(hash(i)) from range(1000000000000) as t(i)
-- expect: stopped
select count(*) from activation as a, activation as b, activation as c where a.value + b.value + c.value > 1
-- expect: stopped
with recursive t as (select 1 as i union all select i + 1 from t) select count(*) from t
-- expect: stopped
with recursive t as (select 1 as i union all select i + 1 from t) select max(i) from t
-- expect: stopped
with recursive t as (select 'x' as s union all select s || s from t) select max(length(s)) from t
-- expect: stopped
select repeat('x', 1000000000)
-- expect: stopped
select length(repeat(repeat('x', 100000000), 100))
-- expect: stopped
select count(distinct repeat('x', 10000000) || i) from range(1000) as t(i)
-- expect: stopped
select generate_series(1, 1000000000)
-- expect: stopped
select len(range(1000000000))
-- expect: stopped
select list_sum(list_transform(range(100000000), lambda x: x * 2))
-- expect: stopped
select list(i) from range(1000000000) as t(i)
-- expect: stopped
select string_agg(repeat('x', 1000), '') from range(10000000)
-- expect: stopped
select array_agg(a.image order by random()) from activation as a, range(10000)
-- expect: stopped
select * from range(1000000000) as t(i) order by hash(i) limit 10 offset 900000000
-- expect: stopped
select max(r) from (select row_number() over (order by hash(i)) as r from range(1000000000) as t(i))
-- expect: stopped
select hash(i), count(*) from range(10000000000) as t(i) group by all
-- expect: stopped
select max(r) from (select repeat('ab', i) as r from range(1000000) as t(i))
-- expect: stopped
select count(*) from range(100000000) as t(i) where regexp_matches(repeat('a', 1000) || i, '(a?){30}a{990}b')
-- expect: stopped
select max(levenshtein(repeat('a', 100000), repeat('b', 100000)))
-- expect: stopped
select max(damerau_levenshtein(repeat('a', 100000), repeat('b', 100000)))
-- expect: stopped
select list_reduce(range(10), lambda a, b: list_sum(range(400000000)))
-- expect: contained
select count(*) from range(200000000) as t(i) where i::varchar similar to '(1|2|3|4|5|6|7|8|9|0|11|22)*x'
-- expect: stopped
select max(md5(repeat('x', 100000000) || i)) from range(100) as t(i)
-- expect: stopped
select max(jaccard(repeat('ab', 50000), repeat('ba', 50000)) + levenshtein(repeat('a', 30000 + i::int), repeat('b', 30000))) from range(1000) as t(i)
-- expect: stopped
select list_sort(list_transform(range(50000000), lambda x: hash(x)))
-- expect: stopped
select histogram(repeat('x', 1000) || i) from range(10000000) as t(i)
-- expect: stopped
select approx_quantile(i, [0.1, 0.2]), mode(i), median(i) from range(3000000000) as t(i)
-- expect: stopped
select count(*) from stored_activation as a, stored_activation as b, stored_activation as c, stored_activation as d, stored_activation as e, range(100000000)
-- expect: stopped
select max(json_array_length(to_json(range(100000000))))
-- expect: stopped
select sum(length(i::varchar::json::varchar)) from range(10000000000) as t(i)
-- expect: stopped
pivot (from range(1000000000) as t(i)) on i in (1, 2, 3) using list(hash(i))
-- expect: stopped
explain analyze select count(*) from range(1000000000000)
-- expect: stopped
summarize from range(1000000000000)
-- expect: stopped
select rpad('x', 2000000000, 'y')
-- expect: contained
select factorial(33) * factorial(33)
-- expect: contained
select format('{:>2000000000}', 'x')
-- expect: contained
select printf('%2000000000d', 1)
-- expect: contained
select regexp_replace(repeat('a', 100000), '(.*)*(.*)*(.*)*b', 'x', 'g')
-- expect: contained
select regexp_matches('a', '((a{1,1000}){1,1000}){1,1000}')
-- expect: contained
select 'a' similar to '(((a*)*)*)*b'
-- expect: contained
select repeat('a', 10000) like repeat('%a', 5000) || 'b'
-- expect: contained
select repeat('x', 40000000)
-- expect: contained
select repeat('x', 1000000) from range(1000)
-- expect: contained
select range(10000000)
-- expect: contained
select bitstring('1', 2000000000)
-- expect: contained
select 10::bignum ** 100000000
-- expect: contained
select list_resize([1], 4000000000, 0)
-- expect: contained
select array_value(1)::int[100000]
-- expect: contained
select null::int[1000000][1000000]
-- expect: contained
select unnest(range(1000000000))
-- expect: contained
select json_structure('[' || repeat('[', 100000))
-- expect: contained
select (repeat('[', 100000) || repeat(']', 100000))::json
-- expect: contained
select json_extract(repeat('{"a":', 1000000) || '1' || repeat('}', 1000000), '$..a')
-- expect: contained
select from_json(repeat('[', 100000), '["int"]')
-- expect: contained
select json_deserialize_sql(repeat('{"a":', 10000))
-- expect: contained
select json_serialize_sql(repeat('(', 3000))
-- expect: contained
select strptime(repeat('1', 10000000), repeat('%Y', 1000000))
-- expect: contained
select st_geomfromwkb('\x01\x07\x00\x00\x00\xff\xff\xff\xff'::blob)
-- expect: contained
select variant_bytes_to_variant('\xff\xff\xff\xff'::blob, '\xff\xff\xff\xff'::blob)
-- expect: contained
select decode('\xff\xfe'::blob)
-- expect: contained
select chr(0), chr(55296), chr(1114112)
-- expect: contained
select nfc_normalize(repeat('é', 1000000)), upper(repeat('ß', 1000000))
-- expect: contained
select url_decode('%00%ff'), unhex('zz'), from_base64('=')
-- expect: contained
select timestamp '290000-01-01' + interval '1000000 years', date '5877642-06-25 (BC)'
-- expect: contained
select interval '9223372036854775807 years', now() at time zone '../../etc/localtime'
-- expect: contained
select 'x' collate "../../etc/passwd"
-- expect: contained
select strftime(now(), repeat('%A', 100000))
-- expect: contained
select 1 as "<script>alert(1)</script>", '<img src=x onerror=alert(1)>' as "'; drop table image; --"
