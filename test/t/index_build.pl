# Building an index: by several processes as by one, in every way that the
# server has, with little memory, and cancelled at any point.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Time::HiRes qw(time usleep);

my $node = PostgreSQL::Test::Cluster->new('build');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
max_worker_processes = 8
max_parallel_workers = 8
maintenance_work_mem = '256MB'
shared_buffers = 128MB
max_wal_size = 4GB
CONF
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(<<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION vector(d integer, seed integer) RETURNS embedding LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT array_agg(sin((seed % 50 * 1000 + j) * 12.9898) + 0.5 * sin(seed * 78.233 + j * j * 3.7))::embedding
	 FROM generate_series(1, d) j';
CREATE TABLE rows AS SELECT i AS id, CASE WHEN i % 1000 = 0 THEN NULL WHEN i % 1001 = 0 THEN array_fill(0::real, ARRAY[48])::embedding
	WHEN i % 1002 = 0 THEN '1e30'::real::float8 * vector(48, i) ELSE vector(48, i) END AS emb FROM generate_series(1, 20000) i;
ALTER TABLE rows SET (parallel_workers = 3);
CREATE TABLE wide AS SELECT i AS id, vector(16000, i) AS emb FROM generate_series(1, 300) i;
ALTER TABLE wide SET (parallel_workers = 2);
ANALYZE;
-- Every row once, in the operator's order, by the index as by a sequential scan
CREATE FUNCTION whole(t text, op text, d integer, expression text DEFAULT 'emb', clause text DEFAULT 'true') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	a text[]; b text[]; q embedding := vector(d, 77); n integer;
BEGIN
	SET LOCAL deepsearch.target_recall = 1;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;
	EXECUTE format('SELECT array_agg(id ORDER BY id), count(DISTINCT id) FROM (SELECT id FROM %s WHERE %s ORDER BY %s %s $1) s',
		t, clause, expression, op) INTO a, n USING q;
	IF n IS DISTINCT FROM cardinality(a) THEN RETURN 'rows came twice'; END IF;
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM %s WHERE %s', t, clause) INTO b;
	IF a IS DISTINCT FROM b THEN RETURN format('%s rows of %s', cardinality(a), cardinality(b)); END IF;
	EXECUTE format('SELECT array_agg(d::text) FROM (SELECT %3$s %4$s $1 AS d FROM %1$s WHERE %2$s ORDER BY %3$s %4$s $1 LIMIT 100) s',
		t, clause, expression, op) INTO a USING q;
	IF (SELECT returned FROM ds_index_last_scan()) < 100 THEN RETURN 'the index was not used'; END IF;
	SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off;
	EXECUTE format('SELECT array_agg(d::text) FROM (SELECT %3$s %4$s $1 AS d FROM %1$s WHERE %2$s ORDER BY %3$s %4$s $1 LIMIT 100) s',
		t, clause, expression, op) INTO b USING q;
	SET LOCAL enable_indexscan = on;
	RETURN CASE WHEN a = b THEN 'ok' ELSE 'other distances' END;
END $$;
-- Recall of the first ten rows as it is set by default
CREATE FUNCTION recall(t text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	hits integer := 0; n integer; q embedding;
BEGIN
	FOR i IN 1..100 LOOP
		q := vector(48, 100000 + i);
		SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on;
		EXECUTE format('CREATE TEMP TABLE found AS SELECT id FROM %s ORDER BY emb <=> $1 LIMIT 10', t) USING q;
		SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
		EXECUTE format('SELECT count(*) FROM (SELECT id FROM %s ORDER BY emb <=> $1 LIMIT 10) s JOIN found USING (id)', t) INTO n USING q;
		hits := hits + n;
		DROP TABLE found;
	END LOOP;
	RETURN hits / 1000.0;
END $$;
SQL

# Files of the database; those of dropped tables stay until a checkpoint
sub files
{
	sql('CHECKPOINT');
	return sql("SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database WHERE datname = current_database())) f");
}

# How many processes built it, as the server says
sub build
{
	my ($workers, $statement) = @_;
	my ($rc, $out, $err) = $node->psql('postgres',
		"SET client_min_messages = debug1; SET max_parallel_maintenance_workers = $workers; $statement");
	is($rc, 0, $statement) or diag($err);
	return $err =~ /is built by (\d+) processes/ ? $1 : 1;
}

# ---- one and several ----
my %recall;
foreach my $workers (0, 1, 3)
{
	foreach my $metric ([ 'embedding_cosine_ops', '<=>' ], [ 'embedding_l2_ops', '<->' ], [ 'embedding_ip_ops', '<#>' ])
	{
		my ($class, $op) = @$metric;
		is(build($workers, "CREATE INDEX i ON rows USING deepsearch (emb $class)"), $workers + 1, "$workers workers");
		is(sql("SELECT whole('rows', '$op', 48)"), 'ok', "every row once, $class, $workers workers");
		$recall{$workers} = sql("SELECT recall('rows')") if $op eq '<=>';
		sql('DROP INDEX i');
	}
}
cmp_ok($recall{0}, '>=', 0.93, "recall $recall{0} of one process");
cmp_ok(abs($recall{$_} - $recall{0}), '<', 0.02, "recall $recall{$_} with $_ workers") foreach 1, 3;

foreach my $metric ([ 'embedding_cosine_ops', '<=>' ], [ 'embedding_l2_ops', '<->' ], [ 'embedding_ip_ops', '<#>' ])
{
	my ($class, $op) = @$metric;
	is(build(2, "CREATE INDEX i ON wide USING deepsearch (emb $class)"), 3, '16,000 dimensions');
	is(sql("SELECT whole('wide', '$op', 16000)"), 'ok', "every row once, $class");
	sql('DROP INDEX i');
}

# ---- ways to build ----
is(build(2, 'CREATE INDEX CONCURRENTLY i ON rows USING deepsearch (emb)'), 3, 'concurrently, in parallel');
is(sql("SELECT whole('rows', '<=>', 48)"), 'ok', 'every row once');
is(build(2, 'REINDEX INDEX i'), 3, 'reindex in parallel');
is(sql("SELECT whole('rows', '<=>', 48)"), 'ok', 'every row once');
is(build(2, 'REINDEX INDEX CONCURRENTLY i'), 3, 'reindex concurrently, in parallel');
is(sql("SELECT whole('rows', '<=>', 48)"), 'ok', 'every row once');
sql('DROP INDEX i');

is(build(2, 'CREATE INDEX i ON rows USING deepsearch ((ds_normalize(emb)::embedding(48))) WHERE id % 3 = 0'), 3, 'expression and condition');
is(sql("SELECT whole('rows', '<=>', 48, '(ds_normalize(emb)::embedding(48))', 'id % 3 = 0')"), 'ok', 'every row once');
sql('DROP INDEX i');

sql('CREATE FUNCTION same(embedding) RETURNS embedding IMMUTABLE PARALLEL RESTRICTED LANGUAGE plpgsql AS $$BEGIN RETURN $1; END$$');
is(build(2, 'CREATE INDEX i ON rows USING deepsearch ((same(emb)::embedding(48)))'), 1, 'no workers for what they may not call');
sql('DROP INDEX i');
is(build(2, 'CREATE TEMP TABLE t WITH (parallel_workers = 2) AS SELECT * FROM rows; CREATE INDEX ON t USING deepsearch (emb)'), 1, 'no workers for temporary tables');
sql('CREATE UNLOGGED TABLE u WITH (parallel_workers = 2) AS SELECT * FROM rows');
is(build(2, 'CREATE INDEX i ON u USING deepsearch (emb)'), 3, 'unlogged');
is(sql("SELECT whole('u', '<=>', 48)"), 'ok', 'every row once');
sql('DROP TABLE u');

# partitions that have their rows already
sql('CREATE TABLE parts (id integer, emb embedding(48)) PARTITION BY RANGE (id)');
sql('CREATE TABLE parts_0 PARTITION OF parts FOR VALUES FROM (0) TO (10001) WITH (parallel_workers = 2)');
sql('CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (10001) TO (20001) WITH (parallel_workers = 2)');
sql('INSERT INTO parts SELECT * FROM rows');
is(build(2, 'CREATE INDEX i ON parts USING deepsearch (emb embedding_l2_ops)'), 3, 'of a partitioned table');
is(sql("SELECT whole('parts_$_', '<->', 48)"), 'ok', 'every row of a partition once') foreach 0, 1;
is(build(2, 'REINDEX INDEX i'), 3, 'reindex of a partitioned table');
is(sql("SELECT whole('parts_$_', '<->', 48)"), 'ok', 'every row of a partition once') foreach 0, 1;
is(build(2, 'REINDEX INDEX CONCURRENTLY i'), 3, 'reindex of a partitioned table, concurrently');
is(sql("SELECT whole('parts_$_', '<->', 48)"), 'ok', 'every row of a partition once') foreach 0, 1;
sql('DROP TABLE parts');

# an error in a worker is the leader's, and nothing stays
sql('CREATE TABLE mixed WITH (parallel_workers = 3) AS SELECT i AS id, vector(CASE WHEN i = 29000 THEN 7 ELSE 8 END, i) AS emb FROM generate_series(1, 30000) i');
my $files = files();
my ($rc, $out, $err) = $node->psql('postgres', 'SET max_parallel_maintenance_workers = 3; CREATE INDEX i ON mixed USING deepsearch (emb)');
like($err, qr/cannot index vectors of different dimensions/, 'the error of a row');
is(files(), $files, 'no file is left');

# ---- little memory ----
($rc, $out, $err) = $node->psql('postgres', 'SET maintenance_work_mem = \'1MB\'; CREATE INDEX i ON rows USING deepsearch (emb)');
like($err, qr/maintenance_work_mem has room for \d+ of \d+ rows.*HINT:  Set maintenance_work_mem to "(\d+)MB"/s, 'too little memory is told');
my ($enough) = $err =~ /to "(\d+)MB"/;
is(sql("SELECT whole('rows', '<=>', 48)"), 'ok', 'every row once');
($rc, $out, $err) = $node->psql('postgres', "SET maintenance_work_mem = '${enough}MB'; REINDEX INDEX i");
is($err, '', 'what the hint says is enough');
sql('DROP INDEX i');

# ---- cancelled ----
sql('CREATE TABLE big AS SELECT i AS id, vector(256, i) AS emb FROM generate_series(1, 12000) i');
sql('INSERT INTO big SELECT id + 12000 * j, emb FROM big, generate_series(1, 4) j');
sql('ALTER TABLE big SET (parallel_workers = 2)');
sql('ANALYZE big');
$files = files();
my $worst = 0;
my %seen;
my $watch = $node->background_psql('postgres');
foreach my $workers (0, 2)
{
	foreach my $phase ('sampling table', 'clustering sample', 'assigning rows to lists', 'writing lists')
	{
		my ($build_out, $build_err) = ('', '');
		my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'),
				'-c', "SET max_parallel_maintenance_workers = $workers", '-c', 'CREATE INDEX i ON big USING deepsearch (emb) WITH (lists = 2000)' ],
			'<', \undef, '>', \$build_out, '2>', \$build_err);
		my $took = $watch->query("DO \$\$
			DECLARE p integer; t timestamptz; BEGIN
			FOR i IN 1..20000 LOOP
				SELECT pid INTO p FROM pg_stat_progress_create_index WHERE phase LIKE '%$phase';
				EXIT WHEN p IS NOT NULL OR (i > 500 AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index));
				PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
			END LOOP;
			PERFORM pg_sleep(0.02 * random());
			t := clock_timestamp();
			PERFORM pg_cancel_backend(p), pg_stat_clear_snapshot();
			WHILE EXISTS (SELECT FROM pg_stat_progress_create_index) LOOP
				PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
			END LOOP;
			PERFORM set_config('test.took', (extract(epoch FROM clock_timestamp() - t) * 1000)::text, false);
			END \$\$; SELECT current_setting('test.took');");
		IPC::Run::finish($run);
		like($build_err, qr/canceling statement due to user request/, "cancelled while $phase, $workers workers, within $took ms");
		$worst = $took if $took > $worst;
		is(sql("SELECT count(*) FROM pg_class WHERE relname = 'i'"), 0, 'no index is left');
	}
}
$watch->quit;
is(files(), $files, 'no file is left');
is(sql('SELECT count(*) FROM pg_ls_tmpdir()'), 0, 'no temporary file is left');

# 100 ms on a machine of one's own; here others may be at work
cmp_ok($worst, '<', 1000, "cancelled within $worst ms at most");

$node->stop;
done_testing();
