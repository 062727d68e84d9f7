# A small shop for the tests of models: products, clicks, and what a user sees of them.
package Shop;
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep time);

our $SOURCE = 'SELECT query, title FROM clicks';
our $CONFIG =
  '{"embedding": {"dims": 32}, "dense": [24], "tokenizer": {"vocabulary": 4096, "buckets": 512}, "training": {"batch_size": 64, "epochs": 3}}';

# A running server with the shop in database postgres
sub node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ], %params);
	$node->append_conf('postgresql.conf', "autovacuum = off\nrestart_after_crash = on\n");
	$node->start;
	return $node;
}

sub tables
{
	my ($node, $database) = @_;
	$node->safe_psql($database // 'postgres', <<'SQL');
CREATE TABLE products (id int PRIMARY KEY, title text, emb embedding(24));
INSERT INTO products (id, title)
SELECT i, c || s || g || '新款' || i
FROM generate_series(1, 600) i,
	LATERAL (SELECT (ARRAY['红色', '蓝色', '黑色', '白色', '绿色'])[i % 5 + 1] AS c,
		(ARRAY['夏季', '冬季', '春季'])[i % 3 + 1] AS s, (ARRAY['连衣裙', '衬衫', '外套', '运动鞋'])[i % 4 + 1] AS g) x;
CREATE TABLE clicks AS
SELECT (ARRAY['红色', '蓝色', '黑色', '白色', '绿色'])[i % 5 + 1] || (ARRAY['连衣裙', '衬衫', '外套', '运动鞋'])[i % 4 + 1] AS query, title
FROM products, LATERAL (SELECT id AS i) x;
SQL
	return;
}

# What must not change: what queries answer, and the weights
sub answers
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', <<'SQL');
SELECT q, string_agg(id || ':' || (emb <=> ds_encode(q)), ' ' ORDER BY emb <=> ds_encode(q), id)
FROM (VALUES ('夏季连衣裙'), ('红色运动鞋'), ('red'), ('')) v (q), LATERAL (SELECT * FROM products ORDER BY emb <=> ds_encode(q), id LIMIT 10) p
GROUP BY q ORDER BY q COLLATE "C"
SQL
}

sub weights
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		q{SELECT m.name, t.version, md5(string_agg(t.name || t.chunk || t.dtype || t.shape::text || md5(t.data), ',' ORDER BY t.name, t.chunk))
		  FROM ds_tensor t JOIN ds_model m ON m.id = t.model GROUP BY 1, 2 ORDER BY 1, 2});
}

# metric() for the option "evaluate": takes so many seconds, and is always better than before, so that
# the last weights stay
sub pace
{
	my ($node, $seconds) = @_;
	$node->safe_psql('postgres', <<SQL);
CREATE TABLE pace (seconds float);
INSERT INTO pace VALUES ($seconds);
CREATE FUNCTION metric() RETURNS float LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM pg_sleep(seconds) FROM pace;
	RETURN extract(epoch FROM clock_timestamp());
END \$\$;
SQL
}

# Start psql with statements in the background; it may fail, and die with the server.
sub start
{
	my ($node, $sql, $database) = @_;
	my %run = (out => '', err => '');
	$run{handle} = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database // 'postgres'), '-c', $sql ],
		'<', \undef, '>', \$run{out}, '2>', \$run{err});
	return \%run;
}

# its exit status
sub finish
{
	my ($run) = @_;
	eval { IPC::Run::finish($run->{handle}); };
	return IPC::Run::full_result($run->{handle}, 0) >> 8;
}

1;
