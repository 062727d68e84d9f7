# Lists with few rows are merged by ds_index_maintain: searches and inserts that
# began with an older directory, a standby, crashes among merges.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
fsync = off
wal_consistency_checking = 'Generic'
max_wal_size = 2GB
wal_keep_size = 2GB
CONF
$primary->start;

sub sql { return $_[0]->safe_psql('postgres', $_[1]) }
sub problems { return sql($_[0], "SELECT kind, block, row_id, problem FROM ds_index_check('$_[1]')") }

# A session that has shell commands run in between, as \! lines of its script
sub session
{
	my ($node, $script) = @_;
	my ($out, $err) = ('', '');
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	PostgreSQL::Test::Utils::append_to_file($file, $script);
	IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ], '<', \undef, '>', \$out, '2>', \$err);
	return ($out, $err);
}

sub elsewhere
{
	my ($node, $statements) = @_;
	return join "\n", map { '\! ' . $node->installed_command('psql') . ' -XAtq -d "' . $node->connstr('postgres') . "\" -c \"$_\"" } @$statements;
}

# 130 clusters, so that lists and clusters are the same and the directory has two pages
sql($primary, <<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION vector(n integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT array_agg(sin((n % 130 * 1000 + j) * 12.9898) * 4 + 0.2 * sin(n * 78.233 + j * j * 3.7))::embedding FROM generate_series(1, 8) j';

-- each row once, and the order of a sequential scan
CREATE FUNCTION compare(t text, q embedding) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	a double precision[];
	b double precision[];
	r integer[];
BEGIN
	PERFORM set_config('deepsearch.target_recall', '1', true);
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
	EXECUTE format('SELECT array_agg(d), array_agg(n) FROM (SELECT n, emb <-> $1 AS d FROM %I ORDER BY emb <-> $1) s', t) INTO a, r USING q;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
	EXECUTE format('SELECT array_agg(d) FROM (SELECT emb <-> $1 AS d FROM %I ORDER BY emb <-> $1) s', t) INTO b USING q;
	RETURN CASE WHEN a IS DISTINCT FROM b THEN 'other distances' WHEN (SELECT count(DISTINCT x) FROM unnest(r) x) <> cardinality(r) THEN 'a row twice' ELSE 'good' END;
END $$;
SQL

sub fill
{
	my ($table) = @_;
	sql($primary, "CREATE TABLE $table AS SELECT n, vector(n) AS emb FROM generate_series(1, 13000) n;
		CREATE INDEX ${table}_idx ON $table USING deepsearch (emb embedding_l2_ops, n) WITH (lists = 130)");
	return;
}

# 120 of the clusters lose nearly all of their rows, the others get more
sub thin
{
	my ($table) = @_;
	sql($primary, "DELETE FROM $table WHERE n % 130 >= 10 AND n > 260; VACUUM $table;
		INSERT INTO $table SELECT n, vector(n) FROM generate_series(13001, 39000) n WHERE n % 130 < 10; VACUUM $table");
	return;
}

fill('item');
is(sql($primary, "SELECT lists_merged FROM ds_index_maintain('item_idx')"), '0', 'nothing to merge after a build');
is(sql($primary, "SELECT lists FROM ds_index_stats('item_idx')"), '130', '130 lists');
thin('item');
fill($_), thin($_) for qw(second third);
my $rows = sql($primary, 'SELECT count(*) FROM item');
$primary->backup('start');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'start', has_streaming => 1);
$standby->start;
sub catch_up { $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')); return }

# A crash at any moment: the changes up to one record and no further.  A server
# that follows the primary stops there and is looked at.
{
	my $from = $primary->lsn('insert');
	my $merged = sql($primary, "SELECT lists_merged FROM ds_index_maintain('item_idx')");
	my $to = $primary->lsn('insert');
	cmp_ok($merged, '>', 20, "$merged lists were merged");
	is(problems($primary, 'item_idx'), '', 'sound after the merges');
	is(sql($primary, "SELECT compare('item', vector(7)), compare('item', vector(333)), count(*) FROM item"), "good|good|$rows", 'every row once after the merges');
	is(sql($primary, "SELECT lists_merged, lists_split, rows_encoded FROM ds_index_maintain('item_idx')"), '0|0|0', 'nothing more to do');

	my ($dump, $err) = ('', '');
	IPC::Run::run([ $primary->installed_command('pg_waldump'), '-p', $primary->data_dir . '/pg_wal', '-r', 'Generic', '-s', $from, '-e', $to ], '>', \$dump, '2>', \$err);
	my @records = $dump =~ /lsn: ([0-9A-F\/]+)/g;
	cmp_ok(scalar(@records), '>', 100, scalar(@records) . ' records of WAL');
	my $crashed = PostgreSQL::Test::Cluster->new('crashed');
	$crashed->init_from_backup($primary, 'start', has_streaming => 1);
	$crashed->append_conf('postgresql.conf', 'recovery_target_action = pause');
	srand 5;
	my @at = sort { $a <=> $b } map { int rand @records } (1 .. 10);
	my %lists;
	for my $i (@at)
	{
		$crashed->append_conf('postgresql.conf', "recovery_target_lsn = '$records[$i]'");
		$crashed->start;
		$crashed->poll_query_until('postgres', "SELECT pg_get_wal_replay_pause_state() = 'paused'") or die 'no pause';
		my $lists = sql($crashed, "SELECT lists FROM ds_index_stats('item_idx')");
		$lists{$lists} = 1;
		is(problems($crashed, 'item_idx'), '', "after record $i: sound, $lists lists");
		is(sql($crashed, "SELECT compare('item', vector(7)), compare('item', vector(333)), count(*) FROM item"), "good|good|$rows", "after record $i: every row once");
		$crashed->stop('immediate') if $i != $at[-1];
	}
	cmp_ok(scalar(keys %lists), '>', 4, 'in the middle of merges');
	$crashed->promote;
	$crashed->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	sql($crashed, 'VACUUM item; VACUUM item; INSERT INTO item SELECT n, vector(n) FROM generate_series(50001, 52000) n');
	sql($crashed, "SELECT ds_index_maintain('item_idx')");
	is(problems($crashed, 'item_idx'), '', 'the next maintenance goes on from there: sound');
	is(sql($crashed, "SELECT compare('item', vector(7))"), 'good', 'and every row once');
	$crashed->stop;
}

# a search with a directory from before the merges; pages are given away meanwhile
fill('fourth');
thin('fourth');

# what gives away the pages that lists have left
sub take_away
{
	my ($table) = @_;
	return ("VACUUM $table", 'SELECT txid_current()', "VACUUM $table", "INSERT INTO $table SELECT n, vector(n % 10) FROM generate_series(50001, 53000) n");
}
{
	my ($out, $err) = session($primary, <<"SQL");
SET enable_seqscan = off; SET enable_sort = off; SET client_min_messages = warning;
SELECT 'first ' || (n > 0) FROM fourth ORDER BY emb <-> vector(129) LIMIT 1;
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT n FROM fourth ORDER BY emb <-> vector(7);
FETCH 3 FROM c;
\\! echo merging
@{[ elsewhere($primary, [ "SELECT lists_merged > 20 FROM ds_index_maintain('fourth_idx')", take_away('fourth') ]) ]}
\\! echo merged
FETCH ALL FROM c;
COMMIT;
SQL
	is($err, '', 'a search that began before the merges: no error');
	my ($before, $verdict, $after) = $out =~ /\A(.*)merging\n(.*)merged\n(.*)\z/s;
	like($verdict, qr/^t$/m, 'lists were merged meanwhile');
	my @got = ((grep { !/first/ } split /\n/, $before), split /\n/, $after);
	my %seen;
	$seen{$_}++ for @got;
	is(scalar(@got), $rows, 'it returns every row');
	is(scalar(keys %seen), $rows, 'each of them once');
}
catch_up();

# the standby: while a search is under way, its pages are given to others
{
	my $wait = '\! ' . 'for i in $(seq 300); do test "$(' . $primary->installed_command('psql') . ' -XAtq -d "' . $primary->connstr('postgres')
	  . '" -c "SELECT bool_and(replay_lsn >= pg_current_wal_insert_lsn()) FROM pg_stat_replication")" = t && break; sleep 0.1; done';
	my ($out, $err) = session($standby, <<"SQL");
SET enable_seqscan = off; SET enable_sort = off;
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT n FROM second ORDER BY emb <-> vector(7);
FETCH 3 FROM c;
@{[ elsewhere($primary, [ "SELECT lists_merged > 20 FROM ds_index_maintain('second_idx')" ]) ]}
$wait
DECLARE d CURSOR FOR SELECT n FROM second ORDER BY emb <-> vector(8);
\\! echo before
FETCH ALL FROM d;
\\! echo after
@{[ elsewhere($primary, [ take_away('second') ]) ]}
$wait
FETCH ALL FROM c;
ROLLBACK;
SELECT 'again ' || count(*) FROM (SELECT n FROM second ORDER BY emb <-> vector(7)) s;
SQL
	like($out, qr/^t$/m, 'standby: lists were merged while a search was under way');
	my ($read) = $out =~ /before\n(.*)after\n/s;
	my %seen = map { $_ => 1 } split /\n/, $read // '';
	is(scalar(keys %seen), sql($primary, 'SELECT count(*) FROM second WHERE n < 50000'), 'standby: a search after the merges sees every row');
	like($err, qr/conflict with recovery.*Lists of index "second_idx" were merged/s, 'standby: a search whose pages were given away is cancelled');
	like($out, qr/^again @{[ sql($primary, 'SELECT count(*) FROM second') ]}$/m, 'standby: the next one finds all rows');
	is(problems($standby, $_), '', "standby: $_ is sound") for qw(item_idx second_idx);
}

# A session with an older directory inserts where lists have gone.
{
	my ($out, $err) = session($primary, <<"SQL");
INSERT INTO third VALUES (0, vector(129));
@{[ elsewhere($primary, [ "SELECT lists_merged > 20 FROM ds_index_maintain('third_idx')" ]) ]}
INSERT INTO third SELECT n, vector(n) FROM generate_series(60001, 60390) n;
SQL
	is("$out$err", "t\n", 'inserts with an older directory: no error');
	is(problems($primary, 'third_idx'), '', 'inserts with an older directory: sound');
}

# and grows again over the end of the first page of the directory
sql($primary, 'INSERT INTO third SELECT n, vector(n) FROM generate_series(100001, 155000) n');
cmp_ok(sql($primary, "SELECT lists FROM ds_index_stats('third_idx')"), '>=', 128, 'lists are split again: a second page of the directory');
is(problems($primary, 'third_idx'), '', 'grown again: sound');

# all rows go: one list stays, and takes new ones
sql($primary, 'DELETE FROM third; VACUUM third');
sql($primary, "SELECT ds_index_maintain('third_idx')");
is(sql($primary, "SELECT lists, rows FROM ds_index_stats('third_idx')"), '1|0', 'without rows one list stays');
sql($primary, 'INSERT INTO third SELECT n, vector(n) FROM generate_series(1, 2000) n');
is(problems($primary, 'third_idx'), '', 'filled again: sound');
is(sql($primary, "SET enable_seqscan = off; SELECT count(*), count(DISTINCT n) FROM (SELECT n FROM third ORDER BY emb <-> vector(1)) s"), '2000|2000', 'filled again: every row once');
catch_up();
is(problems($standby, 'third_idx'), '', 'standby: sound');

$standby->stop;
$primary->stop;
done_testing();
