# VACUUM of several indexes by parallel workers, and VACUUM that is cancelled.
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

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
fsync = off
min_parallel_index_scan_size = 0
max_parallel_maintenance_workers = 2
max_wal_size = 2GB
CONF
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(<<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION vector(n integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN n % 100 = 0 THEN NULL ELSE (SELECT array_agg(sin((n % 60 * 1000 + j) * 12.9898) + 0.4 * sin(n * 78.233 + j * j * 3.7))::embedding FROM generate_series(1, 32) j) END';
CREATE TABLE item AS SELECT n, vector(n) AS emb FROM generate_series(1, 20000) n;
CREATE INDEX item_cosine ON item USING deepsearch (emb);
CREATE INDEX item_l2 ON item USING deepsearch (emb embedding_l2_ops);
CREATE INDEX item_part ON item USING deepsearch (emb embedding_ip_ops) WHERE n % 2 = 0;
SQL
my @indexes = qw(item_cosine item_l2 item_part);
sub sound
{
	my ($when) = @_;
	is(sql("SELECT count(*) FROM ds_index_check('$_')"), 0, "$when: $_ is sound") for @indexes;
	return;
}

# in parallel: bulk deletion, then cleanup alone
my $before = sql("SELECT block_pages + code_pages FROM ds_index_stats('item_l2')");
my $dead = sub { return sql("SELECT dead_rows FROM ds_index_stats('$_[0]')") };
sql('VACUUM item');
is($dead->('item_l2'), 0, 'no row is dead');
sql('BEGIN; INSERT INTO item SELECT n, vector(n) FROM generate_series(90001, 90150) n; DELETE FROM item WHERE n = 7; ROLLBACK');
is($dead->('item_l2'), 150, 'rows of a transaction that was rolled back are dead; one that it deleted is not');
is(sql("BEGIN; DELETE FROM item WHERE n = 7; SELECT dead_rows FROM ds_index_stats('item_l2'); ROLLBACK"), 151, 'one that this transaction deleted is');
sql('DELETE FROM item WHERE n % 3 > 0');
cmp_ok(abs($dead->('item_l2') - 13484), '<', 500, 'of 20,150 rows a sample is looked up');
my ($status, $out, $err) = $node->psql('postgres', 'VACUUM (VERBOSE, PARALLEL 2) item');
like($err, qr/launched 2 parallel vacuum workers for index vacuuming/, 'indexes are vacuumed in parallel');
like($err, qr/index "item_l2".*\n.*13334 index row versions|index "item_l2": pages: \d+ in total/s, 'and reported');
sound('after a parallel VACUUM');
is(sql("SELECT rows, null_rows FROM ds_index_stats('item_l2')"), join('|', split /,/, sql("SELECT count(*) || ',' || count(*) FILTER (WHERE emb IS NULL) FROM item")), 'what was deleted is gone');
is($dead->('item_l2'), 0, 'no dead row is left');
sql('UPDATE item SET emb = vector(n + 1) WHERE n % 60 = 3');
is($dead->('item_cosine'), sql('SELECT count(*) FROM item WHERE n % 60 = 3'), 'versions of rows that were updated are dead');
sql('VACUUM item');
cmp_ok(sql("SELECT block_pages + code_pages FROM ds_index_stats('item_l2')"), '<', 0.8 * $before, 'lists were written anew without their holes');
is(sql("SET enable_seqscan = off; SELECT count(*), count(DISTINCT n) FROM (SELECT n FROM item ORDER BY emb <-> vector(7)) s"),
	join('|', (sql('SELECT count(*) FROM item')) x 2), 'every row once');

# cancelled at any moment; the next one finishes the work
sql('INSERT INTO item SELECT n, vector(n) FROM generate_series(30001, 70000) n');
sql('DELETE FROM item WHERE n % 2 = 0');
my ($slowest, $cancelled) = (0, 0);
for my $pause (5, 15, 25, 40, 60, 90, 130)
{
	my ($o, $e) = ('', '');
	my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c', 'VACUUM (PARALLEL 0, INDEX_CLEANUP ON) item' ],
		'<', \undef, '>', \$o, '2>', \$e);
	# from the moment on when it has come to the index, so many milliseconds; the server takes the time
	my $took = sql(<<"SQL");
DO \$\$
DECLARE
	started timestamptz;
BEGIN
	FOR i IN 1 .. 2000 LOOP
		EXIT WHEN EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE phase = 'vacuuming indexes');
		PERFORM pg_sleep(0.002);
		PERFORM pg_stat_clear_snapshot();
	END LOOP;
	PERFORM pg_sleep($pause / 1000.0);
	started := clock_timestamp();
	PERFORM pg_cancel_backend(pid) FROM pg_stat_progress_vacuum;
	LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_progress_vacuum) OR clock_timestamp() > started + interval '20 s';
		PERFORM pg_sleep(0.001);
	END LOOP;
	PERFORM set_config('test.took', (extract(epoch FROM clock_timestamp() - started) * 1000)::text, false);
END \$\$;
SELECT round(current_setting('test.took')::numeric, 1);
SQL
	$run->finish;
	if ($e =~ /canceling statement due to user request/)
	{
		$cancelled++;
		$slowest = $took if $took > $slowest;
	}
}
sound("$cancelled times cancelled");
note("a cancelled VACUUM ended within $slowest ms");
SKIP:
{
	skip 'VACUUM was over too soon', 1 if $cancelled == 0;
	# 100 ms, and what a busy machine takes to run the two processes
	cmp_ok($slowest, '<', 1000, 'VACUUM can be cancelled');
}
sql('VACUUM item; VACUUM item');
sound('after VACUUM');
is(sql("SELECT rows FROM ds_index_stats('item_l2')"), sql('SELECT count(*) FROM item'), 'nothing that was deleted is left');
$node->stop;
done_testing();
