# Indexes through crashes and on a standby: what was committed is found, once,
# and a standby gives the primary's answers.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Time::HiRes qw(usleep);

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);

# every replayed page is compared with the one that the primary had
$primary->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
wal_consistency_checking = 'Generic'
max_wal_size = 4GB
wal_keep_size = 4GB
shared_buffers = 64MB
CONF
$primary->start;

# Start a psql that runs a script; it may die with the server.
sub start_script
{
	my ($node, $script) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	PostgreSQL::Test::Utils::append_to_file($file, $script);
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $node->connstr('postgres'), '-f', $file ], '<', \undef, '>', \$out, '2>', \$err);
	return { run => $run, err => \$err };
}

sub sql { return $_[0]->safe_psql('postgres', $_[1]) }

sql($primary, <<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION vector(d integer, seed integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT array_agg(sin((seed % 40 * 1000 + j) * 12.9898) + 0.4 * sin(seed * 78.233 + j * j * 3.7))::embedding
	 FROM generate_series(1, d) j';
CREATE TABLE grown (id integer, emb embedding(64));
CREATE INDEX grown_idx ON grown USING deepsearch (emb, id);
CREATE TABLE wide (id integer, emb embedding(2500));
CREATE INDEX wide_idx ON wide USING deepsearch (emb embedding_l2_ops, id, (id::text));
CREATE TABLE built AS SELECT i AS id, CASE WHEN i % 100 = 0 THEN NULL WHEN i % 101 = 0 THEN array_fill(0::real, ARRAY[32])::embedding
	ELSE vector(32, i) END AS emb FROM generate_series(1, 6000) i;
CREATE INDEX built_idx ON built USING deepsearch (emb);
CREATE UNLOGGED TABLE volatile (id integer, emb embedding(16));
CREATE INDEX volatile_idx ON volatile USING deepsearch (emb);
INSERT INTO volatile SELECT i, vector(16, i) FROM generate_series(1, 500) i;

-- Rows by the index and by a sequential scan: the same distances, each row once
CREATE FUNCTION check_index(t text, op text, d integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	a double precision[];
	b double precision[];
	rows tid[];
	total bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %I', t) INTO total;
	PERFORM set_config('deepsearch.target_recall', '1', true);
	FOR i IN 1 .. 3 LOOP
		PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
		EXECUTE format('SELECT array_agg(dist), array_agg(row) FROM (SELECT ctid AS row, emb %s $1 AS dist FROM %I ORDER BY emb %s $1) s', op, t, op)
			INTO a, rows USING vector(d, 7 * i);
		IF (SELECT returned FROM ds_index_last_scan()) < total THEN RETURN 'the index was not used'; END IF;
		PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
		EXECUTE format('SELECT array_agg(dist) FROM (SELECT id, emb %s $1 AS dist FROM %I ORDER BY emb %s $1) s', op, t, op)
			INTO b USING vector(d, 7 * i);
		IF a IS DISTINCT FROM b THEN RETURN 'other distances'; END IF;
		IF cardinality(rows) <> total OR (SELECT count(DISTINCT x) FROM unnest(rows) x) <> total
		THEN RETURN 'a row is missing or comes twice'; END IF;
	END LOOP;
	RETURN 'good';
END $$;
SQL
is(sql($primary, "SELECT check_index('built', '<=>', 32)"), 'good', 'built index');
is(sql($primary, "SELECT check_index('volatile', '<=>', 16)"), 'good', 'index of an unlogged table');

$primary->backup('start');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'start', has_streaming => 1);
$standby->start;

# Rows come in transactions of a few, from two sessions, until the server dies.
my $committed = 0;
for my $round (1 .. 4)
{
	my @inserters;
	for my $session (0, 1)
	{
		my $from = $round * 100_000 + $session * 50_000;
		my $script = join "\n", map {
			my $first = $from + $_ * 10;
			"INSERT INTO grown SELECT i, vector(64, i) FROM generate_series($first, $first + 9) i;"
			  . ($_ % 10 == 0 ? "INSERT INTO wide SELECT $first, vector(2500, $first);" : '')
			  . ($_ % 7 == 0 ? "INSERT INTO built SELECT i, CASE i % 3 WHEN 0 THEN NULL ELSE vector(32, i) END FROM generate_series($first, $first + 5) i;" : '')
			  . ($_ % 25 == 0 ? "DELETE FROM grown WHERE id % 11 = $round AND id < $first - 300;" : '')
		} (1 .. 4000);
		push @inserters, start_script($primary, $script);
	}
	usleep(400_000 + 300_000 * $round);
	sql($primary, 'VACUUM grown; VACUUM built;') if $round > 1;
	$primary->stop('immediate');
	$_->{run}->finish for @inserters;
	like(${ $_->{err} }, qr/^(?!.*ERROR).*(terminat|closed|shut|lost)/s, "round $round: the crash was the inserter's only error")
	  for @inserters;
	$primary->start;
	my $rows = sql($primary, 'SELECT count(*) FROM grown');
	cmp_ok($rows, '>', $committed, "round $round: $rows rows");
	$committed = $rows * 0.5;
	is(sql($primary, "SELECT check_index('grown', '<=>', 64)"), 'good', "round $round: grown index after a crash among inserts");
	is(sql($primary, "SELECT check_index('wide', '<->', 2500)"), 'good', "round $round: rows that span pages");
	is(sql($primary, "SELECT check_index('built', '<=>', 32)"), 'good', "round $round: built index");
	is(sql($primary, "SELECT count(*) FROM volatile"), 0, "round $round: unlogged table is empty");
	is(sql($primary, "INSERT INTO volatile SELECT i, vector(16, i) FROM generate_series(1, 300) i; SELECT check_index('volatile', '<=>', 16)"),
		'good', "round $round: its index works");
	sql($primary, 'VACUUM grown; VACUUM built; VACUUM wide;');
	is(sql($primary, "SELECT check_index('grown', '<=>', 64)"), 'good', "round $round: and after VACUUM");
}
cmp_ok(sql($primary, "SELECT lists FROM ds_index_stats('grown_idx')"), '>', 1, 'lists were split');

# The standby has replayed all of it, each page compared.
$primary->wait_for_catchup($standby);
for my $case ([ 'grown', '<=>', 64 ], [ 'wide', '<->', 2500 ], [ 'built', '<=>', 32 ])
{
	my ($table, $op, $d) = @$case;
	is(sql($standby, "SELECT check_index('$table', '$op', $d)"), 'good', "standby: $table");
	my $query = "SET enable_seqscan = off; SELECT array_agg(id) FROM (SELECT id FROM $table ORDER BY emb $op vector($d, 11), id LIMIT 10) s";
	is(sql($standby, $query), sql($primary, $query), "standby: the primary's answer from $table");
}

# A standby reads while the primary splits, vacuums and reuses pages.
{
	my $script = join "\n", map {
		"BEGIN; INSERT INTO grown SELECT i, vector(64, i) FROM generate_series(${_}000, ${_}400) i; COMMIT; DELETE FROM grown WHERE id % 5 = $_ % 5; VACUUM grown;"
	} (1001 .. 1012);
	my $writer = start_script($primary, $script);
	my ($reads, $wrong, $failed) = (0, 0, '');
	while ($writer->{run}->pumpable && $reads < 400)
	{
		my ($status, $answer, $error) = $standby->psql('postgres',
			# both ways of asking see the same rows
			"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT check_index('grown', '<=>', 64); COMMIT");
		$reads++;
		# a snapshot that the primary's VACUUM has overtaken is cancelled, which is as it should be
		if ($status != 0) { $failed .= $error if $error !~ /conflict with recovery/ }
		elsif ($answer ne 'good') { $wrong++ }
		$writer->{run}->pump_nb;
	}
	$writer->{run}->finish;
	is(${ $writer->{err} }, '', 'the writer had no error');
	is($failed, '', "standby: $reads reads among writes: no error");
	is($wrong, 0, 'standby: no wrong answer');
	$primary->wait_for_catchup($standby);
	is(sql($standby, "SELECT check_index('grown', '<=>', 64)"), 'good', 'standby: good in the end');
}

# A crash in the middle of a build leaves no index, and the next one succeeds.
sql($primary, 'INSERT INTO built SELECT i, vector(32, i) FROM generate_series(1000000, 1025000) i; DROP INDEX built_idx; CHECKPOINT');
for my $pause (60_000, 200_000, 350_000)
{
	my $builder = start_script($primary, 'CREATE INDEX built_idx ON built USING deepsearch (emb)');
	usleep($pause);
	$primary->stop('immediate');
	$builder->{run}->finish;
	$primary->start;
	sql($primary, 'DROP INDEX IF EXISTS built_idx');
}
sql($primary, 'CREATE INDEX built_idx ON built USING deepsearch (emb)');
is(sql($primary, "SELECT check_index('built', '<=>', 32)"), 'good', 'a build after crashes among builds');
$primary->stop('immediate');
$primary->start;
is(sql($primary, "SELECT check_index('built', '<=>', 32)"), 'good', 'a crash right after a build');
$primary->wait_for_catchup($standby);
is(sql($standby, "SELECT check_index('built', '<=>', 32)"), 'good', 'standby: the build');
is(sql($primary, "SELECT count(*) FROM pg_stat_progress_create_index"), 0, 'no build is left');

$standby->stop;
$primary->stop;
done_testing();
