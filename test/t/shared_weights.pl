# The files that processes share weights by: made once, never trusted, gone with their version.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
	require PostgreSQL::Test::BackgroundPsql unless PostgreSQL::Test::Cluster->can('background_psql');
}
use Shop;

my $node = Shop::node('shared', allows_streaming => 1);
my $folder = $node->data_dir . '/deepsearch';
my $one = "SELECT ds_encode('红色连衣裙', 'shop')::text;";
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

# the files there are: finished ones, or all
sub files
{
	my ($in, $all) = @_;
	my @names;
	if (opendir my $dir, $in) { @names = sort grep { /^pgsql_tmp_ds_/ && ($all || !/\./) } readdir $dir; }
	return map { "$in/$_" } @names;
}
sub inode { return (stat $_[0])[1] // 0 }
sub contents { return PostgreSQL::Test::Utils::slurp_file($_[0]) }

# Write bytes into a file, at a place from its begin (or, negative, its end)
sub scribble
{
	my ($path, $at, $bytes) = @_;
	open my $file, '+<:raw', $path or die "$path: $!";
	seek $file, $at, $at < 0 ? 2 : 0;
	print $file $bytes;
	close $file;
}

sql('CREATE EXTENSION deepsearch');
Shop::tables($node);
sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
sql("CALL ds_train('shop', '$Shop::SOURCE')");
is(scalar(files($folder)), 0, 'no file before the first use');

# --- made once, used by all ---
my $answer = sql($one);
my ($file, @more) = files($folder, 1);
is(scalar(@more), 0, 'one file');
my $oid = sql('SELECT oid FROM pg_database WHERE datname = current_database()');
like($file, qr{/pgsql_tmp_ds_${oid}_1_1_[0-9a-f]{32}$}, 'named by database, model, version and uid');
is((stat $file)[2] & 07777, 0600, 'for the server alone');
my $inode = inode($file);
my $good = contents($file);
is(sql($one), $answer, 'another session gives the same answer');
is(inode($file), $inode, 'from the same file');
my $session = $node->background_psql('postgres', on_error_stop => 0);
is($session->query_safe($one), $answer, 'a session that stays');
my $pid = $session->query_safe('SELECT pg_backend_pid();');
my $maps = sub { my @lines = -r "/proc/$pid/maps" ? grep { /pgsql_tmp_ds_/ } split /\n/, contents("/proc/$pid/maps") : (); return @lines };
SKIP:
{
	skip 'needs /proc', 1 unless -r "/proc/$pid/maps";
	like(join("\n", $maps->()), qr/^\S+ r--s \S+ \S+ $inode\s[^\n]*$/, 'maps the file, read-only and shared');
}

# --- damage: each is noticed by a new session, and mended ---
my $sessions = 0;
sub mended
{
	my ($what) = @_;
	my $offset = -s $node->logfile;
	is(sql($one), $answer, "$what: right answer");
	ok((files($folder, 1)) == 1, "$what: one file");
	is(contents((files($folder))[0]), $good, "$what: made again as it was");
	return substr contents($node->logfile), $offset;
}
$session->quit; # whoever maps a file that is cut short dies
my $size = -s $file;
for my $bytes (0, 10, 4096, 8192, $size - 1)
{
	truncate $file, $bytes or die;
	like(mended("cut to $bytes bytes"), $bytes < 8192 ? qr// : qr/is damaged or foreign/, "cut to $bytes bytes: noted in the log");
}
# format, size, checksums, database, model, packing, a section's name and place, data
for my $at (0, 8, 12, 16, 24, 32, 36, 60, 160, 210, 8192, 20000, -1)
{
	my $byte = substr $good, $at, 1;
	scribble($file, $at, chr(ord($byte) ^ 0x41));
	mended("byte $at changed");
}
scribble($file, $size, 'more');
mended('longer');
unlink $file;
mkdir $file or die;
is(sql($one), $answer, 'a folder in its place: right answer');
is(scalar(files($folder, 1)), 1, 'nothing is left behind');
rmdir $file or die;
mended('missing');
# one that was cut by a crash of the machine: its time says that it was good before
my @time = (stat $file)[8, 9];
is(inode($file), inode((files($folder))[0]), 'the file as it is');
$node->stop;
scribble($file, -1000, 'x' x 20);
utime @time, $file or die;
$node->start;
mended('damaged while the server was down');
$node->stop('immediate');
$inode = inode($file);
$node->start;
is(sql($one), $answer, 'after a crash: right answer');
is(inode($file), $inode, 'from the file as it was');

# --- no file can be written ---
unlink $file;
chmod 0500, $folder or die;
is(sql($one), $answer, 'a folder that cannot be written: right answer');
is(scalar(files($folder, 1)), 0, 'without a file');
like(contents($node->logfile), qr/could not write a file of \d+ bytes in "deepsearch"/, 'noted in the log');
chmod 0700, $folder or die;

# --- many at once ---
for my $round (1 .. 5)
{
	unlink files($folder, 1);
	my @runs = map { Shop::start($node, $one) } 1 .. 8;
	Shop::finish($_) for @runs;
	is(join('|', map { $_->{out} . $_->{err} } @runs), join('|', ("$answer\n") x 8), "eight at once, round $round: all the same");
	is(contents((files($folder, 1))[0]), $good, 'one file, and a good one') if files($folder, 1) == 1;
	is(scalar(files($folder, 1)), 1, 'and no other');
}
unlink files($folder, 1);
is(sql("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SELECT count(DISTINCT ds_encode(title, 'shop')::text) > 20 FROM products"), 't', 'parallel workers');
is(contents((files($folder, 1))[0]), $good, 'leave a good file');

# --- a new version ---
$session = $node->background_psql('postgres', on_error_stop => 0);
my $repeatable = $node->background_psql('postgres', on_error_stop => 0);
$repeatable->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($repeatable->query_safe($one), $answer, 'repeatable read: first version');
is($session->query_safe($one), $answer, 'session: first version');
$pid = $session->query_safe('SELECT pg_backend_pid();');
sql("CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 2, \"keep_versions\": 1}')");
ok(!-e $file, 'the file of a version goes with the version');
my $second = sql($one);
isnt($second, $answer, 'the new version answers otherwise');
is($session->query_safe($one), $second, 'in an old session, too, at its next statement');
SKIP:
{
	skip 'needs /proc', 1 unless -r "/proc/$pid/maps";
	unlike(join("\n", $maps->()), qr/_1_1_/, 'which lets go of the version that is gone');
}
is($repeatable->query_safe("SELECT ds_encode('红色' || '连衣裙', 'shop')::text;"), $answer, 'repeatable read keeps its version');
$repeatable->query_safe('COMMIT');
is($repeatable->query_safe($one), $second, 'until its end');
my ($second_file) = files($folder);
like($second_file, qr/_1_2_/, 'the file of the second version');
is(scalar(files($folder, 1)), 1, 'alone');

# what sessions remember of one model is no business of another
is($session->query_safe('SELECT ds_encode_count();'), '2', 'a session has encoded two texts');
sql("CALL ds_train('other', '$Shop::SOURCE', '{\"epochs\": 1}')");
sql("CALL ds_train('other', '$Shop::SOURCE', '{\"epochs\": 1, \"keep_versions\": 1}')");
is($session->query_safe("$one SELECT ds_encode_count();"), "$second\n2", 'and not again after another model was trained');
sql('DELETE FROM ds_tensor WHERE false');
is($session->query_safe("$one SELECT ds_encode_count();"), "$second\n3", 'but after the tables were touched by hand');
$second_file = (files($folder))[-1];

# --- transactions ---
is($session->query_safe("BEGIN; SELECT ds_drop_model('other'), 1; ROLLBACK; SELECT ds_encode('a', 'other') IS NOT NULL;"), "|1\nt", 'a drop that was rolled back');
is(scalar(grep { /_2_2_/ } files($folder)), 1, 'leaves a file for the model');
$session->query_safe("SET client_min_messages = warning; BEGIN; CALL ds_train('other', '$Shop::SOURCE', '{\"epochs\": 1, \"seed\": 8}')");
my $uncommitted = $session->query_safe("SELECT ds_encode('a', 'other')::text;");
is(scalar(grep { /_2_3_/ } files($folder)), 1, 'a version can be used before its commit');
isnt(sql("SELECT ds_encode('a', 'other')::text"), $uncommitted, 'by its transaction alone');
$session->query_safe('ROLLBACK');
is(scalar(grep { /_2_3_/ } files($folder)), 0, 'and its file goes with a rollback');
sql("CALL ds_train('other', '$Shop::SOURCE', '{\"epochs\": 1, \"seed\": 9}')");
my $other = sql("SELECT ds_encode('a', 'other')::text");
isnt($other, $uncommitted, 'the same number means another version now');
is($session->query_safe("SELECT ds_encode('a', 'other')::text;"), $other, 'for all sessions');
# by hand
sql(q{UPDATE ds_tensor SET data = substr(data, 1, octet_length(data) - 4) || '\x0000803f' WHERE name = 'shared.dense.0.bias' AND model = 2});
my $by_hand = sql("SELECT ds_encode('a', 'other')::text");
isnt($by_hand, $other, 'weights changed by hand');
is($session->query_safe("SELECT ds_encode('a', 'other')::text;"), $by_hand, 'are seen by all sessions');
is(sql($one), $second, 'and do no harm to others');

# --- drop ---
sql("SELECT ds_drop_model('other')");
is(scalar(grep { /_2_\d_/ } files($folder, 1)), 0, 'a dropped model leaves no file');
is(sql($one), $second, 'beside one that is there');

# --- leftovers ---
my $name = (grep { /_1_2_/ } files($folder))[0];
(my $gone = $name) =~ s/ds_${oid}_/ds_99999999_/;
(my $stale = $name) =~ s/_1_2_/_77_1_/;
PostgreSQL::Test::Utils::append_to_file($_, 'x') for $gone, $stale, "$name.999999999", "$folder/other";
unlink $name;
is(sql($one), $second, 'a file is made');
is(join(' ', files($folder, 1)), $name, 'and files of other databases, versions and processes that are gone go');
ok(-e "$folder/other", 'nothing else does');
unlink "$folder/other";
$_->quit for $session, $repeatable;
sql('CREATE DATABASE copy TEMPLATE postgres');
is(sql($one, 'copy'), $second, 'a copy of the database');
is(scalar(files($folder, 1)), 2, 'has its own file');
sql('DROP DATABASE copy');
$session = $node->background_psql('postgres', on_error_stop => 0);
is($session->query_safe($one), $second, 'a session');
sql('DROP EXTENSION deepsearch CASCADE; CREATE EXTENSION deepsearch');
sql("ALTER TABLE products ADD emb embedding(24); SELECT ds_create_model('shop', '$Shop::CONFIG'); CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 4}')");
$answer = sql($one);
isnt($answer, $second, 'the extension made anew counts from 1 again');
is($session->query_safe($one), $answer, 'and no session takes one for the other');
is(scalar(files($folder, 1)), 1, 'the old files are gone');

# --- many versions in one session ---
sql("SELECT ds_create_model('m' || i, '$Shop::CONFIG') FROM generate_series(1, 12) i");
sql("CALL ds_train('m$_', '$Shop::SOURCE', '{\"epochs\": 1}')") for 1 .. 12;
is($session->query_safe("SELECT count(ds_encode('a', 'm' || i)) FROM generate_series(1, 12) i;"), '12', 'twelve models in a session');
$pid = $session->query_safe('SELECT pg_backend_pid();');
SKIP:
{
	skip 'needs /proc', 1 unless -r "/proc/$pid/maps";
	cmp_ok(scalar($maps->()), '<=', 8, 'which has no more than eight mapped');
}
sql('SELECT ds_drop_model(\'m\' || i) FROM generate_series(1, 12) i');
is(scalar(files($folder, 1)), 1, 'all of their files went at once');

# --- a standby has its own ---
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
my $there = $standby->data_dir . '/deepsearch';
is(scalar(files($there, 1)), 0, 'a base backup has no file');
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', $one), $answer, 'a standby answers');
is(scalar(files($there, 1)), 1, 'from a file of its own');
is(contents((files($there))[0]), contents((files($folder))[0]), 'which is the same');
truncate((files($there))[0], 9000);
is($standby->safe_psql('postgres', $one), $answer, 'damaged there: right answer');
is(contents((files($there))[0]), contents((files($folder))[0]), 'and mended');
my $reader = $standby->background_psql('postgres', on_error_stop => 0);
is($reader->query_safe($one), $answer, 'a session there');
sql("CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 5, \"keep_versions\": 1}')");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $newest = sql($one);
is($reader->query_safe($one), $newest, 'sees the new version');
is(join(' ', map { /_(\d+_\d+)_[0-9a-f]+$/ } files($there, 1)), '1_2', 'and the file of the old one is gone there');
unlink files($there, 1);
my @runs = map { Shop::start($standby, $one) } 1 .. 6;
Shop::finish($_) for @runs;
is(join('|', map { $_->{out} . $_->{err} } @runs), join('|', ("$newest\n") x 6), 'six at once');
is(scalar(files($there, 1)), 1, 'and one file');
$reader->quit;
$standby->stop;

# --- a process that dies ---
$inode = inode((files($folder))[0]);
$pid = $session->query_safe("$one SELECT pg_backend_pid();");
$pid =~ s/.*\n//s;
kill 'KILL', $pid;
$node->poll_query_until('postgres', 'SELECT 1', '1') or die;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()', 't') or die;
is(sql($one), $newest, 'after a process was killed: right answer');
is(inode((files($folder))[0]), $inode, 'from the same file');
eval { $session->quit };
$node->stop;
done_testing();
