# ds_index_check: nothing to say about sound indexes; damage is found by it, and
# answered by searches with an error or a harmless result, never by a crash.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
full_page_writes = off
restart_after_crash = off
CONF
$node->start;

sub sql { return $_[0]->safe_psql('postgres', $_[1]) }
sub problems { return sql($_[0], "SELECT kind, block, row_id, problem FROM ds_index_check('$_[1]')") }

sql($node, <<'SQL');
CREATE EXTENSION deepsearch;
CREATE FUNCTION vector(d integer, seed integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT array_agg(sin((seed % 40 * 1000 + j) * 12.9898) + 0.4 * sin(seed * 78.233 + j * j * 3.7))::embedding
	 FROM generate_series(1, d) j';
CREATE TABLE item AS SELECT i AS id, CASE WHEN i % 100 = 0 THEN NULL WHEN i % 101 = 0 THEN array_fill(0::real, ARRAY[32])::embedding
	WHEN i % 203 = 0 THEN vector(32, i) * array_fill(1e25::real, ARRAY[32])::embedding ELSE vector(32, i) END AS emb
	FROM generate_series(1, 4000) i;
CREATE INDEX item_cosine ON item USING deepsearch (emb);
CREATE INDEX item_l2 ON item USING deepsearch (emb embedding_l2_ops);
CREATE INDEX item_ip ON item USING deepsearch (emb embedding_ip_ops);
CREATE INDEX item_part ON item USING deepsearch ((emb + emb)) WHERE id % 3 = 0;
CREATE TABLE grown (id integer, emb embedding);
CREATE INDEX grown_idx ON grown USING deepsearch (emb embedding_l2_ops);
CREATE TABLE wide (id integer, emb embedding(2500));
CREATE INDEX wide_idx ON wide USING deepsearch (emb);
SQL
my @indexes = qw(item_cosine item_l2 item_ip item_part grown_idx wide_idx);
sub all_sound
{
	my ($server, $when) = @_;
	is(problems($server, $_), '', "$when: $_ is sound") for @indexes;
}
all_sound($node, 'built');
$node->backup('start');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'start', has_streaming => 1);
$standby->start;

sql($node, 'INSERT INTO grown SELECT i, vector(48, i) FROM generate_series(1, 3000) i; INSERT INTO wide SELECT i, vector(2500, i) FROM generate_series(1, 200) i');
sql($node, 'INSERT INTO item SELECT i, vector(32, i) FROM generate_series(4001, 9000) i');
all_sound($node, 'grown');
cmp_ok(sql($node, "SELECT lists FROM ds_index_stats('grown_idx')"), '>', 4, 'lists were split');
sql($node, 'DELETE FROM item WHERE id % 3 = 0; DELETE FROM grown WHERE id % 2 = 0; UPDATE wide SET emb = vector(2500, id + 1) WHERE id % 5 = 0');
all_sound($node, 'deleted');
sql($node, 'VACUUM item; VACUUM grown; VACUUM wide');
all_sound($node, 'vacuumed');
sql($node, 'BEGIN; INSERT INTO item SELECT i, vector(32, i) FROM generate_series(20001, 21000) i; ROLLBACK; VACUUM item; INSERT INTO item SELECT i, vector(32, i) FROM generate_series(30001, 32000) i');
all_sound($node, 'rolled back and filled again');
$node->wait_for_catchup($standby);
all_sound($standby, 'standby');
$standby->stop;

# who may
sql($node, 'CREATE ROLE other; GRANT SELECT ON item TO other; GRANT USAGE ON SCHEMA public TO other');
like(($node->psql('postgres', "SET ROLE other; SELECT * FROM ds_index_check('item_l2')"))[2], qr/must be owner of index item_l2/, 'owners only');
like(($node->psql('postgres', "SELECT * FROM ds_index_check('item')"))[2], qr/"item" is not an index of access method deepsearch/, 'a table is refused');

# rows that the index does not have, or has for another row: change the table behind its back
sql($node, <<'SQL');
CREATE TABLE lost AS SELECT i AS id, vector(8, i) AS emb FROM generate_series(1, 300) i;
CREATE INDEX lost_idx ON lost USING deepsearch (emb);
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'lost_idx'::regclass;
INSERT INTO lost SELECT i, vector(8, i) FROM generate_series(301, 303) i;
SQL
like(($node->psql('postgres', "SELECT * FROM ds_index_check('lost_idx')"))[2], qr/index "lost_idx" is not valid/, 'an invalid index is refused');
sql($node, "UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'lost_idx'::regclass");
is(sql($node, "SELECT count(*), min(problem), max(problem) FROM ds_index_check('lost_idx')"), '3|the row is not in the index|the row is not in the index', 'missing rows are found');
sql($node, <<'SQL');
CREATE FUNCTION changing(embedding) RETURNS embedding LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE TABLE lied AS SELECT i AS id, vector(8, i) AS emb FROM generate_series(1, 500) i;
CREATE INDEX lied_idx ON lied USING deepsearch (changing(emb) embedding_l2_ops);
CREATE OR REPLACE FUNCTION changing(embedding) RETURNS embedding LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $1';
SQL
is(sql($node, "SELECT string_agg(DISTINCT kind, ',' ORDER BY kind), count(DISTINCT row_id) FROM ds_index_check('lied_idx')"), 'bound,codes|500', 'rows that are not what they were: codes and bounds');

# Damage: bytes of a stopped server's file.  Each case flips or overwrites some
# and puts them back afterwards.
my $file = $node->data_dir . '/' . sql($node, "SELECT pg_relation_filepath('item_cosine')");
my $wide_file = $node->data_dir . '/' . sql($node, "SELECT pg_relation_filepath('wide_idx')");
$node->stop;
sub slurp { my ($name) = @_; open my $in, '<:raw', $name or die "$name: $!"; local $/; return scalar <$in> }
sub spew { my ($name, $data) = @_; open my $out, '>:raw', $name or die "$name: $!"; print $out $data; close $out or die $! }
my %sound = ($file => slurp($file), $wide_file => slurp($wide_file));
my $opaque = 8192 - 32;    # list, generation, next, ordinal, stale (8), kind (2), ..., page id

# pages by kind, of what their lists are made of now
my %pages;
for my $name ($file, $wide_file)
{
	for my $page (1 .. length($sound{$name}) / 8192 - 1)
	{
		my ($list, $generation, $next, $ordinal, $stale, $kind) = unpack 'LLLLQS', substr($sound{$name}, $page * 8192 + $opaque, 26);
		push @{ $pages{$name}{$kind} }, { page => $page, list => $list, generation => $generation, next => $next, ordinal => $ordinal }
		  if $stale == 0;
	}
}
sub current
{
	# the lists' newest generations
	my ($name, $kind) = @_;
	my %newest;
	for (@{ $pages{$name}{4} }) { $newest{ $_->{list} } = $_->{generation} if $_->{generation} > ($newest{ $_->{list} } // 0) }
	return grep { $_->{generation} == ($newest{ $_->{list} } // -1) } @{ $pages{$name}{$kind} };
}
my $queries = join ' ', map {
	"SELECT count(*) FROM (SELECT ctid FROM item ORDER BY emb <=> vector(32, $_) LIMIT 50) s;"
	  . "SELECT count(*) FROM (SELECT ctid FROM item ORDER BY emb <=> vector(32, $_)) s;"
	  . "SET deepsearch.target_recall = 1; SELECT count(*) FROM (SELECT ctid FROM item ORDER BY emb <=> vector(32, $_)) s; RESET deepsearch.target_recall;"
} (1, 17);
my $wide_queries = 'SELECT count(*) FROM (SELECT ctid FROM wide ORDER BY emb <=> vector(2500, 3)) s;'
  . 'SET deepsearch.target_recall = 1; SELECT count(*) FROM (SELECT ctid FROM wide ORDER BY emb <=> vector(2500, 3)) s;';

# the third and the fourth are the server's, for a block beyond the end, and for codes that lie
my $says = qr/damaged page|invalid page|could not (?:read|open).*block|index returned tuples in wrong order|format \d+, this version/;

sub damage
{
	my ($name, $what, $page, $at, $bytes, $expected) = @_;
	my $image = $sound{$name};
	my $index = $name eq $file ? 'item_cosine' : 'wide_idx';
	my $table = $name eq $file ? 'item' : 'wide';
	my $d = $name eq $file ? 32 : 2500;

	substr($image, $page * 8192 + $at, length $bytes) = $bytes;
	spew($name, $image);
	$node->start;
	my ($status, $out, $err) = $node->psql('postgres', "SELECT kind, block, row_id, problem FROM ds_index_check('$index')");
	like("$out$err", $expected, "$what: found");
	unlike($err, qr/server closed|TRAP|PANIC/, "$what: no crash of the check");
	# every search ends with rows, or with an error that names the damage
	my @wrong;
	for my $query (split /(?<=s;)/, $name eq $file ? $queries : $wide_queries)
	{
		($status, $out, $err) = $node->psql('postgres', "SET enable_seqscan = off; SET statement_timeout = '60s'; $query");
		push @wrong, "$query: $err" if $status != 0 && $err !~ /$says/;
	}
	# and so do writes
	for my $write ("INSERT INTO $table SELECT 1000000 + i, vector($d, i) FROM generate_series(1, 60) i", "VACUUM (INDEX_CLEANUP ON) $table")
	{
		($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '60s'; $write");
		push @wrong, "$write: $err" if $status != 0 && $err !~ /$says/;
	}
	is(join("\n", @wrong), '', "$what: searches and writes give rows or an error that says so");
	($status, $out, $err) = $node->psql('postgres', 'SELECT 1');
	is($out, '1', "$what: the server is up");
	$node->stop('immediate');
	return;
}

# a page whose first two rows exist, for their damage to be seen
my @alive = grep { (unpack('L', substr($sound{$file}, $_->{page} * 8192 + 24, 4)) & 3) == 3 } current($file, 4);
my ($blocks) = grep { $_->{ordinal} == 0 && $_->{next} != 0xFFFFFFFF } @alive;
($blocks) = @alive unless $blocks;
my ($other) = grep { $_->{list} != $blocks->{list} } current($file, 4);
my ($codes) = grep { $_->{list} == $blocks->{list} } current($file, 5);
my $vectors = $pages{$file}{2}[0];
my $directory = $pages{$file}{3}[0];
my $tids = $pages{$file}{6}[0];
my $routes = $pages{$file}{7}[0];
my $dims = 32;
my @saved;

# the table's files too: inserts of one case must not be seen in the next
$node->start;
sql($node, 'CHECKPOINT');
$node->stop;
my $copy = $node->data_dir . '.sound';
sub restore
{
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $node->data_dir);
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $copy, $node->data_dir);
}
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $node->data_dir, $copy);
%sound = ($file => slurp($file), $wide_file => slurp($wide_file));

my @cases = (
	[ $file, 'magic number', 0, 24, pack('L', 1), qr/not a metapage/ ],
	[ $file, 'version', 0, 28, pack('L', 77), qr/has format 77, this version of deepsearch reads/ ],
	[ $file, 'page header', $blocks->{page}, 12, pack('S', 9000), qr/invalid page in block|bad page header/ ],
	[ $file, 'a page of zeros', $blocks->{page}, 0, "\0" x 8192, qr/blocks of another list|is empty/ ],
	[ $file, 'kind of a page', $blocks->{page}, $opaque + 24, pack('S', 6), qr/blocks of another list/ ],
	[ $file, 'an impossible kind', $codes->{page}, $opaque + 24, pack('S', 99), qr/not a page of this kind of index/ ],
	[ $file, 'list of a page', $blocks->{page}, $opaque, pack('L', 12345), qr/blocks of another list/ ],
	[ $file, 'next page: itself', $blocks->{page}, $opaque + 8, pack('L', $blocks->{page}), qr/is in two places/ ],
	[ $file, 'next page: of another list', $blocks->{page}, $opaque + 8, pack('L', $other->{page}), qr/blocks of another list|is in two places/ ],
	[ $file, 'next page: beyond the end', $blocks->{page}, $opaque + 8, pack('L', 0x7FFFFFF0), qr/beyond the end of the file/ ],
	[ $file, 'end of a page', $blocks->{page}, 12, pack('S', 24 + 17), qr/ends within a block/ ],
	[ $file, 'centroid of a block', $blocks->{page}, 24 + 4, pack('L', 0x7FFFFFFF), qr/a block without a centroid/ ],
	[ $file, 'codes of a block', $blocks->{page}, 24 + 8, pack('S', 0xFFF0), qr/a block without codes/ ],
	[ $file, 'page of codes of a block', $blocks->{page}, 24 + 16 + 192, pack('L', 0x7FFFFFF0), qr/beyond the end of the file/ ],
	[ $file, 'a row id', $blocks->{page}, 24 + 16, pack('SSS', 0, 0, 0), qr/impossible row id/ ],
	[ $file, 'a row id of another row', $blocks->{page}, 24 + 16, substr($sound{$file}, $blocks->{page} * 8192 + 24 + 16 + 6, 6), qr/not in the index[^\0]*|the row is in the index twice/ ],
	[ $file, 'live rows', $blocks->{page}, 24, pack('L', 0x0000FFF0), qr/the row is not in the index/ ],
	[ $file, 'signs and factors', $blocks->{page}, 24 + 400, "\xA5" x 200, qr/other codes than the row's/ ],
	[ $file, '8-bit codes', $codes->{page}, 24 + 100, "\x7F" x 1000, qr/other codes than the row's/ ],
	[ $file, 'not a number', $codes->{page}, 24, pack('L', 0x7FC00000) x 500, qr/other codes than the row's/ ],
	[ $file, 'centroids', $vectors->{page}, 24, pack('f', 1e30) x 32, qr/other codes than the row's|beyond|centroid/ ],
	[ $file, 'centroids that are not numbers', $vectors->{page}, 24, pack('L', 0x7FC00000) x 64, qr/centroid 0 is not finite/ ],
	[ $file, 'the chain of centroids', $vectors->{page}, $opaque + 12, pack('L', 5), qr/chain of centroids is broken|its number in the chain/ ],
	[ $file, 'routes: codes', $routes->{page}, 24 + 4 * $dims + 64 * 4 + 2 * 384, "\xA5" x 200, qr/the code of centroid \d+ is not that of the centroid/ ],
	[ $file, 'routes: a factor that is not a number', $routes->{page}, 24 + 4 * $dims + 64 * 4, pack('L', 0x7FC00000), qr/the code of centroid 0 is not/ ],
	[ $file, 'routes: where a centroid begins', $routes->{page}, 24 + 4 * $dims + 4, pack('L', 0x7FFFFFF0), qr/could not (?:read|open).*block/ ],
	[ $file, 'routes: the page of another kind', $routes->{page}, 24 + 4 * $dims + 4, pack('L', $directory->{page}), qr/another kind of page/ ],
	[ $file, 'the chain of routes', $routes->{page}, $opaque + 12, pack('L', 5), qr/chain of routes is broken|its number in the chain/ ],
	[ $file, 'directory: two lists of one centroid', $directory->{page}, 24, substr($sound{$file}, $directory->{page} * 8192 + 24 + 64, 4), qr/two lists have the same centroid/ ],
	[ $file, 'directory: a centroid', $directory->{page}, 24, pack('L', 0x7FFFFFFF), qr/a list without a centroid/ ],
	[ $file, 'directory: a generation', $directory->{page}, 24 + 4, pack('L', 0x7FFFFFFF), qr/generation 2147483647/ ],
	[ $file, 'directory: a first page', $directory->{page}, 24 + 12, pack('L', 0), qr/damage|is in two places/ ],
	[ $file, 'directory: a radius', $directory->{page}, 24 + 32, pack('f', 1e-9), qr/whose radius is/ ],
	[ $file, 'directory: its end', $directory->{page}, 12, pack('S', 24 + 64), qr/the directory is broken/ ],
	[ $file, 'rows that are NULL', $tids->{page}, $opaque, pack('L', 7), qr/the chain of row ids is broken/ ],
	[ $file, 'a row id that is NULL', $tids->{page}, 24, pack('SSS', 0, 60000, 3), qr/at which the table has nothing/ ],
	[ $file, 'metapage: lists', 0, 24 + 44, pack('L', 0x0000FFFF), qr/directory is (too short|broken)/ ],
	[ $wide_file, 'wide rows: a page of codes', (current($wide_file, 5))[0]{page}, 24 + 1000, "\x55" x 3000, qr/other codes than the row's/ ],
	[ $wide_file, 'wide rows: a page of codes is zeros', (current($wide_file, 5))[0]{page}, 0, "\0" x 8192, qr/codes of another list/ ],
);
for my $case (@cases)
{
	damage(@$case);
	restore();
}

# Random damage: whatever it is, no crash.
srand 7;
for my $round (1 .. 4)
{
	my $image = $sound{$file};
	for (1 .. 30)
	{
		my $page = 1 + int rand(length($image) / 8192 - 1);
		substr($image, $page * 8192 + 24 + int(rand 8160), 4) = pack 'L', int rand 2**32;
	}
	spew($file, $image);
	$node->start;
	isnt(problems($node, 'item_cosine'), '', "random damage $round: found");
	$node->psql('postgres', "SET enable_seqscan = off; SET statement_timeout = '60s'; $_") for split /(?<=s;)/, $queries;
	$node->psql('postgres', $_) for 'INSERT INTO item SELECT i, vector(32, i) FROM generate_series(1, 500) i', 'VACUUM (INDEX_CLEANUP ON) item';
	is(sql($node, 'SELECT 1'), '1', "random damage $round: the server is up");
	$node->stop('immediate');
	restore();
}

$node->start;
all_sound($node, 'in the end');
$node->stop;
done_testing();
