# Whatever is done with an index can be cancelled within 100 ms: no process
# works on for long without asking (test/tools/polls.c), which is measured in
# processor time, so that a busy machine does no harm.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}

# Nothing of it is the server's own commit, which writes out the files of a new
# index where wal_level is minimal, without asking.
#
# What is promised.  Seen on an idle machine: 48 at most; time that a hypervisor
# gives to others counts as the process's own.
my $most = 100;
my $node = PostgreSQL::Test::Cluster->new('polls');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
autovacuum = off
jit = off
max_worker_processes = 8
max_parallel_workers = 8
maintenance_work_mem = '1GB'
shared_buffers = 256MB
max_wal_size = 4GB
wal_level = replica
session_preload_libraries = '$ENV{TESTDIR}/polls'
CONF
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(<<SQL);
CREATE EXTENSION deepsearch;
CREATE FUNCTION polls_worst() RETURNS text LANGUAGE c AS '$ENV{TESTDIR}/polls';
CREATE FUNCTION polls_idle(integer) RETURNS void LANGUAGE c AS '$ENV{TESTDIR}/polls';
CREATE TABLE narrow (id integer, emb embedding(64)) WITH (parallel_workers = 2);
INSERT INTO narrow SELECT i, array(SELECT random() + i * 0 FROM generate_series(1, 64))::real[]::embedding FROM generate_series(1, 20000) i;
INSERT INTO narrow SELECT id + 20000 * j, emb FROM narrow, generate_series(1, 9) j;
CREATE TABLE wide (id integer, emb embedding(16000)) WITH (parallel_workers = 2);
INSERT INTO wide SELECT i, array(SELECT random() + i * 0 FROM generate_series(1, 16000))::real[]::embedding FROM generate_series(1, 900) i;
INSERT INTO wide SELECT id + 900, emb FROM wide;
ANALYZE;
SQL

like(sql('SELECT polls_idle(150); SELECT polls_worst()'), qr/^1[0-9][0-9] /m, 'the watcher sees who does not ask');

sub watched
{
	my ($what, $statement) = @_;
	my $from = -s $node->logfile;
	my ($rc, $out, $err) = $node->psql('postgres', undef, extra_params => [ '-c', "SELECT polls_worst() IS NULL", (map { ('-c', $_) } split /;\s*/, $statement), '-c', 'SELECT polls_worst()' ]);
	is($rc, 0, $what) or diag($err);
	my ($worst, $where) = $out =~ /(\d+)( .*)?\z/;
	cmp_ok($worst, '<', $most, "$what: $worst ms at most without asking") or diag($where);
	my @workers = PostgreSQL::Test::Utils::slurp_file($node->logfile, $from) =~ /polls of a worker: (\d+.*)/g;
	foreach (@workers)
	{
		my ($ms) = /^(\d+)/;
		cmp_ok($ms, '<', $most, "... a worker: $ms ms") or diag($_);
	}
	return scalar @workers;
}

foreach my $table ([ 'narrow', 3000, 64 ], [ 'wide', 600, 16000 ])
{
	my ($name, $lists, $d) = @$table;
	my $use = 'SET enable_seqscan = off; SET enable_sort = off';
	my $query = "SELECT id FROM $name ORDER BY emb <-> (SELECT emb FROM $name WHERE id = 7)";

	is(watched("a build of $name", "CREATE INDEX i ON $name USING deepsearch (emb embedding_l2_ops) WITH (lists = $lists)"), 2, 'two workers');
	sql('DROP INDEX i');
	watched("a build of $name by one process",
		"SET max_parallel_maintenance_workers = 0; CREATE INDEX i ON $name USING deepsearch (emb embedding_l2_ops) WITH (lists = $lists)");
	watched("a search of $name", "$use; $query LIMIT 10");
	watched("all rows of $name", "$use; SELECT count(*) FROM ($query) s");
	watched("an exact search of $name", "$use; SET deepsearch.target_recall = 1; $query LIMIT 1000");
	watched("verification of $name", "SELECT count(*) FROM ds_index_check('i')");
	watched("recall of $name", "SELECT recall FROM ds_index_recall('i', 100, 50)");
	watched("calibration of $name", "SELECT ds_index_calibrate('i', 'SELECT emb FROM $name WHERE id <= 500')");
	watched("an insert into $name", "INSERT INTO $name SELECT id, emb FROM $name WHERE id % 4 = 0");
	watched("deleting from $name", "DELETE FROM $name WHERE id % 2 = 0");
	watched("VACUUM of $name", "VACUUM $name");
	watched("maintenance of $name", "SELECT count(*) FROM ds_index_maintain('i')");
	sql('DROP INDEX i');
}

# the values of a filter
sql(<<SQL);
CREATE TABLE filtered AS SELECT id, emb FROM narrow WHERE id <= 1000;
CREATE INDEX filtered_idx ON filtered USING deepsearch (emb embedding_l2_ops, id);
CREATE TABLE wanted AS SELECT array_agg((i * 7919::bigint % 2000003)::integer) AS id FROM generate_series(1, 2000000) i;
SQL
watched('a filter of two million values',
	'SET enable_seqscan = off; SET enable_sort = off; SELECT id FROM filtered WHERE id = ANY ((SELECT id FROM wanted)::integer[]) ORDER BY emb <-> (SELECT emb FROM narrow LIMIT 1) LIMIT 1');

$node->stop;
done_testing();
