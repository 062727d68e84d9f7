# Damaged files of an index: bytes flipped at random, and then everything that
# reads or changes the index.  It ends with an error or an answer; never with a
# crash, never with a loop.
#
#   FUZZ_ROUNDS=40 FUZZ_SEED=1    how many damaged copies, and of which seed
#
# Each round is a copy of a database whose files are changed before anybody has
# read them, so the server need not be stopped.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}

my $rounds = $ENV{FUZZ_ROUNDS} || 40;
my $seed = $ENV{FUZZ_SEED} || 1;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
fsync = off
full_page_writes = off
restart_after_crash = off
statement_timeout = '30s'
CONF
$node->start;
sub sql { return $node->safe_psql($_[0], $_[1]) }

sql('postgres', 'CREATE DATABASE sound');
sql('sound', <<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION vector(d integer, seed integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN seed % 50 = 0 THEN NULL WHEN seed % 51 = 0 THEN array_fill(0::real, ARRAY[d])::embedding
	 ELSE (SELECT array_agg(sin((seed % 20 * 1000 + j) * 12.9898) + 0.4 * sin(seed * 78.233 + j * j * 3.7))::embedding FROM generate_series(1, d) j) END';
-- built and then changed: lists that were split, places that are free, pages that were left
CREATE TABLE a AS SELECT i AS id, vector(16, i) AS emb FROM generate_series(1, 1500) i;
CREATE INDEX a_idx ON a USING deepsearch (emb, id) WITH (lists = 12);
DELETE FROM a WHERE id % 3 = 0;
VACUUM a;
-- grown: splits
CREATE TABLE b (id integer, emb embedding);
CREATE INDEX b_idx ON b USING deepsearch (emb embedding_l2_ops);
INSERT INTO b SELECT i, vector(40, i) FROM generate_series(1, 1200) i;
-- a block spans pages
CREATE TABLE c AS SELECT i AS id, vector(2500, i) AS emb FROM generate_series(1, 70) i;
CREATE INDEX c_idx ON c USING deepsearch (emb embedding_ip_ops, id, (id::text));
SQL
my %dimension = (a => 16, b => 40, c => 2500);
my %operator = (a => '<=>', b => '<->', c => '<#>');
my %path = map { $_ => sql('sound', "SELECT pg_relation_filenode('${_}_idx')") } keys %dimension;
sql('postgres', 'CHECKPOINT');

sub slurp { my ($name) = @_; open my $in, '<:raw', $name or die "$name: $!"; local $/; return scalar <$in> }
sub spew { my ($name, $data) = @_; open my $out, '>:raw', $name or die "$name: $!"; print $out $data; close $out or die $! }

# Where a flip is likely to matter: headers, ends of pages, and the beginnings of records
sub somewhere
{
	my ($pages) = @_;
	my $page = rand() < 0.25 ? 0 : int rand $pages;
	my $what = rand;
	my $at = $what < 0.15 ? int rand 24 : $what < 0.35 ? 8192 - 32 + int rand 32 : $what < 0.65 ? 24 + int rand 160 : int rand 8192;
	return $page * 8192 + $at;
}

sub damage
{
	my ($image) = @_;

	for (1 .. 1 + int(rand(rand() < 0.7 ? 2 : 12)))
	{
		my $at = somewhere(length($image) / 8192);
		my $how = rand;
		if ($how < 0.5) { substr($image, $at, 1) ^= chr(1 << int rand 8) }
		elsif ($how < 0.7) { substr($image, $at, 1) = chr int rand 256 }
		elsif ($how < 0.8) { substr($image, $at & ~3, 4) = pack 'L', int rand(length($image) / 8192) }    # a page that is there
		elsif ($how < 0.9) { substr($image, $at & ~3, 4) = pack 'L', (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FC00000, 0x7F800000)[ int rand 7 ] }
		else
		{
			# a page, or a part of one, of somewhere else
			my $from = int(rand(length($image) / 8192)) * 8192;
			my $size = rand() < 0.5 ? 8192 : 256;
			my $to = $at - $at % $size;
			substr($image, $to, $size) = substr($image, $from, $size);
		}
	}
	return $image;
}

# a copy of the database whose index of `table` is what `change` makes of it
sub make_damaged
{
	my ($table, $change) = @_;
	sql('postgres', 'CREATE DATABASE damaged TEMPLATE sound' . ($node->pg_version >= 15 ? ' STRATEGY file_copy' : ''));
	my $file = $node->data_dir . '/base/' . sql('postgres', "SELECT oid FROM pg_database WHERE datname = 'damaged'") . "/$path{$table}";
	spew($file, $change->(slurp($file)));
	return;
}

# A list whose first page, which is full, is its own successor, and where inserts begin to look for room
{
	make_damaged('c', sub {
		my ($image) = @_;
		my ($directory) = grep { unpack('S', substr($image, $_ * 8192 + 8192 - 8, 2)) == 3 } 1 .. length($image) / 8192 - 1;
		my $head = unpack 'L', substr($image, $directory * 8192 + 24 + 12, 4);
		substr($image, $directory * 8192 + 24 + 16, 4) = pack 'L', $head;
		substr($image, $head * 8192 + 8192 - 32 + 8, 4) = pack 'L', $head;
		return $image;
	});
	for my $statement ('INSERT INTO c SELECT i, vector(2500, i) FROM generate_series(1000, 1020) i', "SELECT ds_index_maintain('c_idx')",
		"SELECT ds_index_calibrate('c_idx', 'SELECT vector(2500, 3)')", 'SELECT count(*) FROM (SELECT id FROM c ORDER BY emb <#> vector(2500, 1)) s')
	{
		my ($status, $out, $err) = $node->psql('damaged', "SET enable_seqscan = off; $statement");
		like($err, qr/the chain of a list is broken/, "a list without an end: $statement");
	}
	sql('postgres', 'DROP DATABASE damaged WITH (FORCE)');
}

my (%states, @wrong);
my ($errors, $statements) = (0, 0);
my @tables = qw(a b c);
for my $round (1 .. $rounds)
{
	srand $seed * 100_000 + $round;
	my $table = $tables[ rand() < 0.5 ? 0 : 1 + int rand 2 ];
	my ($d, $op) = ($dimension{$table}, $operator{$table});
	make_damaged($table, \&damage);
	my @script = (
		"SELECT count(*) FROM ds_index_check('${table}_idx')",
		"SELECT count(*) FROM (SELECT id FROM $table ORDER BY emb $op vector($d, 7) LIMIT 10) s",
		"SELECT count(*) FROM (SELECT id FROM $table ORDER BY emb $op vector($d, 8)) s",
		"SELECT count(*) FROM (SELECT id FROM $table WHERE id < 40 ORDER BY emb $op vector($d, 8)) s",
		"SET deepsearch.target_recall = 1", "SELECT count(*) FROM (SELECT id FROM $table ORDER BY emb $op vector($d, 9)) s", 'RESET deepsearch.target_recall',
		"SELECT count(*) FROM (SELECT id FROM $table ORDER BY emb $op NULL::embedding) s",
		"SELECT rows FROM ds_index_stats('${table}_idx')",
		"SELECT recall FROM ds_index_recall('${table}_idx', 3, 3)",
		"INSERT INTO $table SELECT 100000 + i, vector($d, i) FROM generate_series(1, 120) i",
		"VACUUM (INDEX_CLEANUP ON) $table",
		"DELETE FROM $table WHERE id % 4 = 1",
		"VACUUM (INDEX_CLEANUP ON) $table",
		"SELECT ds_index_calibrate('${table}_idx', 'SELECT vector($d, 11)')",
		"SELECT lists_split FROM ds_index_maintain('${table}_idx')",
		"INSERT INTO $table SELECT 200000 + i, vector($d, i) FROM generate_series(1, 400) i",
		"SELECT count(*) FROM (SELECT id FROM $table ORDER BY emb $op vector($d, 10) LIMIT 300) s",
		"VACUUM (INDEX_CLEANUP ON) $table",
		"SELECT count(*) FROM ds_index_check('${table}_idx')",
	);
	my ($out, $err) = ('', '');
	my $input = "\\set VERBOSITY verbose\nSET enable_seqscan = off; SET enable_sort = off;\n" . join('', map { "\\echo $_\n$_;\n" } @script);
	IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('damaged') ], '<', \$input, '>', \$out, '2>', \$err);
	$statements += @script;
	while ($err =~ /(?:ERROR|FATAL|PANIC):  (\w{5}): (.*)/g)
	{
		$errors++;
		$states{$1}++;
		# damage, out of memory, a limit, another dimension, a format of another version; nothing else
		next if $1 =~ /^(?:XX001|XX002|0A000|22000|54000|53200)$/;
		# the server's own: a block beyond the end of the file, codes that lie
		next if $2 =~ /^could not open file .* \(target block|^index returned tuples in wrong order/;
		push @wrong, "round $round, $table: $1 $2";
	}
	push @wrong, "round $round, $table: " . substr($err, -300) if $err =~ /server closed|TRAP|connection to server/;
	last if ($node->psql('postgres', 'SELECT 1'))[0] != 0;
	sql('postgres', 'DROP DATABASE damaged WITH (FORCE)');
}
is(join("\n", @wrong), '', "$rounds damaged indexes, $statements statements, $errors errors (" . join(', ', map { "$_ $states{$_}" } sort keys %states) . '): no crash, no loop');
is(sql('postgres', 'SELECT 1'), '1', 'the server is up');
is(sql('sound', "SELECT count(*) FROM ds_index_check('${_}_idx')"), 0, "$_: what was not damaged is sound") for @tables;
$node->stop;
done_testing();
