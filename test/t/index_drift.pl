# Data that change after the build: recall before and after ds_index_maintain,
# what ds_index_stats says of it, and what maintenance is good for.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nmax_wal_size = 2GB\n");
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]) }

# Rows around centres that k-means of the other half has never seen: other
# places, another number of clusters, other widths.
sql(<<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION noise(scale double precision, shift double precision) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg((random() + random() - 1) * scale + CASE WHEN j % 3 = 0 THEN shift ELSE 0 END)::embedding FROM generate_series(1, 32) j';
CREATE PROCEDURE load(t text, half integer, n integer) LANGUAGE plpgsql AS $$
DECLARE
	clusters integer := CASE half WHEN 1 THEN 150 ELSE 20 END;
	width double precision := CASE half WHEN 1 THEN 1.2 ELSE 2.0 END;
BEGIN
	PERFORM setseed(0.1 * half);
	CREATE TEMP TABLE centre AS SELECT i, noise(3, CASE half WHEN 1 THEN 0 ELSE 1.5 END) AS c FROM generate_series(0, clusters - 1) i;
	EXECUTE format('INSERT INTO %I SELECT %s + n.i, c + noise(%s, 0) FROM generate_series(1, %s) n(i) JOIN centre ON centre.i = n.i %% %s', t, half * 1000000, width, n, clusters);
	DROP TABLE centre;
END $$;

-- rows refined for the ten nearest, on average
CREATE FUNCTION refined(t text, op text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	q embedding;
	total numeric := 0;
	dummy bigint;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true);
	FOR q IN EXECUTE format('SELECT emb FROM %I WHERE id %% 97 = 0 AND id > 2000000 ORDER BY id LIMIT 100', t) LOOP
		EXECUTE format('SELECT count(*) FROM (SELECT id FROM %I ORDER BY emb %s $1 LIMIT 10) s', t, op) INTO dummy USING q;
		total := total + (SELECT s.refined FROM ds_index_last_scan() s);
	END LOOP;
	RETURN round(total / 100, 1);
END $$;
SQL

my $recall = sub { return sql("SELECT round(recall::numeric, 3) FROM ds_index_recall('$_[0]_idx', 10, 300, 1)") };
my $stats = sub { return sql("SELECT $_[1] FROM ds_index_stats('$_[0]_idx')") };

for my $case ([ 'cosine', '<=>', 12000 ], [ 'l2', '<->', 12000 ])
{
	my ($metric, $op, $half) = @$case;
	sql("CREATE TABLE $metric (id integer, emb embedding(32)); CALL load('$metric', 1, $half);
		CREATE INDEX ${metric}_idx ON $metric USING deepsearch (emb embedding_${metric}_ops)");
	my $built = $recall->($metric);
	cmp_ok($built, '>=', 0.95, "$metric: recall after the build $built");
	is($stats->($metric, 'rows_at_build, rows_elsewhere, empty_lists, round(drift::numeric, 3), lists_measured = lists, round(expected_recall::numeric, 2)'),
		"$half|0|0|1.000|t|0.98", "$metric: stats after the build");

	# a second half that is clustered differently
	sql("CALL load('$metric', 2, $half)");
	my $before = $recall->($metric);
	cmp_ok($before, '>=', 0.85, "$metric: recall after another half came, before maintenance: $before");
	my $refined = sql("SELECT refined('$metric', '$op')");
	my ($elsewhere, $drift, $cv) = split /\|/, $stats->($metric, 'rows_elsewhere, round(drift::numeric, 3), round(rows_cv::numeric, 2)');
	cmp_ok($elsewhere, '>', 500, "$metric: $elsewhere rows wait to be encoded again");
	cmp_ok($drift, '>', 1.0, "$metric: drift $drift, balance $cv");
	my $done = sql("SELECT * FROM ds_index_maintain('${metric}_idx')");
	my $after = $recall->($metric);
	cmp_ok($after, '>=', 0.95, "$metric: recall after maintenance $after (split|merged|encoded lists|rows|queries: $done)");
	my $fewer = sql("SELECT refined('$metric', '$op')");
	cmp_ok($fewer, '<', 0.9 * $refined, "$metric: maintenance brought rows refined from $refined to $fewer");
	my ($left, $less) = split /\|/, $stats->($metric, 'rows_elsewhere, round(drift::numeric, 3)');
	is($left, 0, "$metric: no row waits to be encoded again");
	cmp_ok($less, '<', $drift, "$metric: drift is less, $less");
	is(sql("SELECT count(*) FROM ds_index_check('${metric}_idx')"), 0, "$metric: sound");

	# the first half goes
	sql("DELETE FROM $metric WHERE id < 2000000");
	sql("VACUUM $metric");
	my $deleted = $recall->($metric);
	cmp_ok($deleted, '>=', 0.85, "$metric: recall after the first half went, before maintenance: $deleted");
	my ($lists, $empty, $rows) = split /\|/, $stats->($metric, 'lists, empty_lists, rows');
	is($rows, $half, "$metric: rows of the second half only");
	cmp_ok($empty, '>', 10, "$metric: $empty of $lists lists are empty");
	my $merged = sql("SELECT lists_merged FROM ds_index_maintain('${metric}_idx')");
	cmp_ok($merged, '>=', $empty, "$metric: $merged lists were merged");
	is($stats->($metric, 'empty_lists'), 0, "$metric: no empty list is left");
	my $held = $recall->($metric);
	cmp_ok($held, '>=', 0.95, "$metric: recall after maintenance $held");
	cmp_ok($stats->($metric, 'free_places'), '<', $half, "$metric: lists were written anew without their holes");
	is(sql("SELECT count(*) FROM ds_index_check('${metric}_idx')"), 0, "$metric: sound");

	# pages that lists have left are given back, and used again before the file grows
	cmp_ok($stats->($metric, 'stale_pages'), '>', 0, "$metric: pages wait to be freed");
	sql("VACUUM $metric; SELECT txid_current(); VACUUM $metric");
	my ($stale, $free, $pages) = split /\|/, $stats->($metric, 'stale_pages, free_pages, pages');
	is($stale, 0, "$metric: none waits after VACUUM");
	cmp_ok($free, '>', $pages / 4, "$metric: $free of $pages pages are free");
	is($stats->($metric, '1 + vector_pages + directory_pages + block_pages + code_pages + row_id_pages + stale_pages + free_pages = pages, bytes = pages * 8192'), 't|t', "$metric: every page has its kind");
	sql("CALL load('$metric', 3, $half / 4)");
	is($stats->($metric, 'pages'), $pages, "$metric: rows that come take those pages");
}

# an index that grew: nothing was measured, and it says so
sql("CREATE TABLE grown (id integer, emb embedding(32)); CREATE INDEX grown_idx ON grown USING deepsearch (emb)");
is($stats->('grown', 'rows, lists, least_rows, mean_rows, rows_cv, drift, lists_measured, expected_recall'), '0|0||||||', 'an empty index');
sql("CALL load('grown', 1, 3000)");
is($stats->('grown', 'rows, rows_at_build, lists > 1, drift, lists_measured, expected_recall'), '3000|0|t|||', 'an index that grew');
sql("SELECT ds_index_maintain('grown_idx')");
is($stats->('grown', 'lists_measured = lists, round(expected_recall::numeric, 2)'), 't|0.98', 'measured by maintenance');
is(sql("SET deepsearch.target_recall = 1; SELECT expected_recall FROM ds_index_stats('grown_idx')"), 1, 'expected of an exact scan');
is(sql("SET deepsearch.probes = 1; SELECT expected_recall < 0.95 AND probes = 1 FROM ds_index_stats('grown_idx')"), 't', 'expected of one list');
is(sql("SET deepsearch.probes = 1000; SELECT expected_recall FROM ds_index_stats('grown_idx')"), 1, 'expected of all lists');
$node->stop;
done_testing();
