# Connections that read an index for the first time while its lists are split:
# a directory that was read half before and half after a split is read again.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nmax_connections = 40\n");
$node->start;

# long vectors: lists are short, so there are many splits, and centroids take their time
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION deepsearch;
CREATE TABLE item (id integer, emb embedding(1500));
CREATE INDEX item_idx ON item USING deepsearch (emb embedding_l2_ops);
CREATE FUNCTION vector(seed integer) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg(seed % 90 * (j % 7) + random())::embedding FROM generate_series(1, 1500) j';
SQL
my ($out, $err) = ('', '');
my $writer = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c',
		'INSERT INTO item SELECT i, vector(i) FROM generate_series(1, 6000) i' ], '<', \undef, '>', \$out, '2>', \$err);
my $script = PostgreSQL::Test::Utils::tempdir() . '/search.sql';
PostgreSQL::Test::Utils::append_to_file($script,
	"SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM item ORDER BY emb <-> (SELECT array_agg(j % 7 * :client_id)::embedding FROM generate_series(1, 1500) j) LIMIT 3) s;\n");
my ($connections, $failed) = (0, '');
while ($writer->pumpable)
{
	my ($bench, $bench_err) = ('', '');
	IPC::Run::run([ $node->installed_command('pgbench'), '-n', '-C', '-c', 4, '-j', 2, '-t', 25, '-f', $script, '-d', $node->connstr('postgres') ],
		'<', \undef, '>', \$bench, '2>', \$bench_err);
	$connections += 100;
	$failed .= "$1\n" while $bench_err =~ /(ERROR.*)/g;
	$writer->pump_nb;
}
$writer->finish;
is($err, '', 'the writer had no error');
is($failed, '', "$connections connections: no error");
is($node->safe_psql('postgres', "SELECT count(*) FROM ds_index_check('item_idx')"), '0', 'the index is sound');
note($node->safe_psql('postgres', "SELECT lists || ' lists' FROM ds_index_stats('item_idx')"));
$node->stop;
done_testing();
