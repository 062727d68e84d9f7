# Models in shorter numbers: what processes map of them, on a standby and with many connections; cancelled, and
# killed half way: nothing is left.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
	require PostgreSQL::Test::BackgroundPsql unless PostgreSQL::Test::Cluster->can('background_psql');
}
use Model;
use Shop;
use Time::HiRes ();

my $node = Shop::node('quantize', allows_streaming => 1);
my $folder = $node->data_dir . '/deepsearch';
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }
sub files
{
	my ($in) = @_;
	opendir my $dir, $in or return;
	return map { "$in/$_" } sort grep { /^pgsql_tmp_ds_/ } readdir $dir;
}
# the file of a model's version
sub file_of
{
	my ($in, $name) = @_;
	my $id = sql("SELECT id FROM ds_model WHERE name = '$name'");
	my ($file) = grep { /_ds_\d+_${id}_\d+_[0-9a-f]+$/ } files($in);
	return $file // die "no file of $name";
}

sql('CREATE EXTENSION deepsearch');
Shop::tables($node);
sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
sql("CALL ds_train('shop', '$Shop::SOURCE')");
my $texts = q{(SELECT query AS t FROM clicks UNION SELECT title FROM products) x};
sql("SELECT count(ds_encode(t, 'shop')) FROM $texts");

# --- a table of tokens stays in shorter numbers where it is mapped; the rest is as large as it was ---
my $rows = sql("SELECT shape[1] FROM ds_tensor WHERE name = 'shared.embedding' LIMIT 1");
my %saves = (fp16 => 2 * 32, bf16 => 2 * 32, int8 => 3 * 32 - 4);
my $full = -s file_of($folder, 'shop');
for my $to (sort keys %saves)
{
	my ($before, $after, $cosine) = split /\|/, sql("SELECT size_before, size_after, cosine_min FROM ds_quantize_model('shop', '$to', '$to', '{\"calibration\": \"SELECT title FROM products\"}')");
	cmp_ok($cosine, '>', $to eq 'int8' ? 0.999 : 0.99999, "$to: its embeddings are near");
	cmp_ok($before / $after, '>', $to eq 'int8' ? 3.6 : 1.9, "$to: its tables are shorter");
	cmp_ok(abs($full - $rows * $saves{$to} - -s file_of($folder, $to)), '<', 256, "$to: and so is what is mapped");
}
sql("SELECT (ds_quantize_model('int8', 'again', 'int8')).size_after");
is(sql("SELECT size FROM ds_models WHERE name = 'again'"), sql("SELECT size FROM ds_models WHERE name = 'int8'"), 'quantized again it is as large');
cmp_ok(sql("SELECT max(ds_encode(t, 'again') <=> ds_encode(t, 'int8')) FROM $texts"), '<', 1e-4, 'and gives the same');
is(sql("SELECT count(*) FROM (SELECT * FROM ds_tokenize('红色连衣裙 red', 'int8') EXCEPT SELECT * FROM ds_tokenize('红色连衣裙 red', 'shop')) x"), '0', 'its tokenizer, which is stored packed, says the same');

# --- learning goes on ---
my $before = sql("SELECT md5(string_agg(ds_encode(t, 'int8')::text, ' ' ORDER BY t)) FROM $texts");
is(sql("BEGIN; SELECT version FROM ds_train_step('int8', ARRAY['红色连衣裙', '蓝色衬衫'], ARRAY['红色夏季连衣裙', '蓝色冬季衬衫'], options => '{\"learning_rate\": 0.00001}');
	SELECT max(ds_encode(t, 'int8') <=> ds_encode(t, 'again')) < 1e-3 FROM $texts; ROLLBACK"), "2\nt", 'a step from shorter numbers');
is(sql("SELECT md5(string_agg(ds_encode(t, 'int8')::text, ' ' ORDER BY t)) FROM $texts"), $before, 'rolled back, it is as it was');

# --- on a standby ---
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
is(scalar(files($standby->data_dir . '/deepsearch')), 0, 'no file of it goes with a base backup');
sql("SELECT ds_quantize_model('shop', 'later', 'int8')");
$node->wait_for_catchup($standby);
my $all = q{SELECT md5(string_agg(ds_encode(t, m)::text, ' ' ORDER BY m, t)) FROM %s, unnest(ARRAY['fp16', 'bf16', 'int8', 'later']) m};
is($standby->safe_psql('postgres', sprintf($all, $texts)), sql(sprintf($all, $texts)), 'a standby gives the same embeddings');
is(-s file_of($standby->data_dir . '/deepsearch', 'int8'), -s file_of($folder, 'int8'), 'from a file as short');
like(($standby->psql('postgres', "SELECT ds_quantize_model('shop', 'there', 'int8')"))[2], qr/cannot execute ds_quantize_model\(\) in a read-only transaction/, 'none is made there');
$standby->stop;

# --- a larger one, which takes a while: cancelled, and killed, as it is written and as it is measured ---
my $vocab = join "\n", @Model::WORDS, map { "word$_" } 1 .. 20000;
sql(qq{SELECT ds_create_model('large', jsonb_build_object('encoder', '{"layers": 6, "hidden": 256, "heads": 4, "max_tokens": 128}'::jsonb, 'tokenizer', jsonb_build_object('vocab', \$\$$vocab\$\$)))});
sql("CREATE TABLE long AS SELECT (SELECT string_agg('word' || (i * 100 + j) % 20000, ' ') FROM generate_series(1, 100) j) AS t FROM generate_series(1, 1000) i");
my $quantize = q{SELECT ds_quantize_model('large', 'short', 'int8', '{"calibration": "SELECT t FROM long"}')};
my $left = q{SELECT (SELECT count(*) FROM ds_model WHERE name = 'short'), (SELECT count(*) FROM ds_model_version v WHERE NOT EXISTS (SELECT FROM ds_model m WHERE m.id = v.model)), (SELECT count(*) FROM ds_tensor t WHERE NOT EXISTS (SELECT FROM ds_model m WHERE m.id = t.model))};
sql("SELECT ds_encode('word1', 'large')");
my @known = files($folder);
my ($state, undef, $error) = $node->psql('postgres', "SET statement_timeout = '300ms'; $quantize");
like($error, qr/canceling statement due to statement timeout/, 'cancelled');
is(sql($left), '0|0|0', 'nothing is left in the tables');
is(join(' ', files($folder)), join(' ', @known), 'nor among the files');

# the whole of it stands still at a lock as its first tensor is written, or is measured with its file already made
for my $moment ('written', 'measured')
{
	my $blocker = $node->background_psql('postgres');
	$blocker->query_safe('BEGIN; LOCK TABLE ds_tensor IN SHARE MODE') if $moment eq 'written';
	my $session = Shop::start($node, $quantize);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT ds_quantize_model(''large''%' AND " . ($moment eq 'written' ? "wait_event_type = 'Lock'" : "state = 'active'")), "$moment: it is under way");
	if ($moment eq 'measured')
	{
		for (1 .. 1000)
		{
			last if files($folder) > @known && !grep { /\.\d+$/ } files($folder);
			Time::HiRes::usleep(10_000);
		}
	}
	my $pid = sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT ds_quantize_model(''large''%' AND pid <> pg_backend_pid()");
	kill KILL => $pid;
	isnt(Shop::finish($session), 0, "$moment: killed");
	eval { $blocker->quit };
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	is(sql($left), '0|0|0', "$moment: nothing is left in the tables");
	# the next who makes a file sweeps
	sql("SELECT ds_quantize_model('shop', 'next $moment', 'fp16')");
	push @known, file_of($folder, "next $moment");
	is(join(' ', files($folder)), join(' ', sort @known), "$moment: nor among the files");
}
sql($quantize);
is(sql($left), '1|0|0', 'not killed, it comes to its end');

# --- 100 connections: one copy ---
SKIP: {
	skip 'needs /proc/PID/smaps_rollup', 2 unless -r "/proc/$$/smaps_rollup";
	$node->append_conf('postgresql.conf', 'max_connections = 120');
	$node->restart;
	my @sessions = map { $node->background_psql('postgres') } 1 .. 100;
	my $one = "SELECT round(1e6 * (ds_encode('红色连衣裙', 'int8') <=> ds_encode('夏季', 'int8')))";
	my %answers = map { $_->query_safe($one) => 1 } @sessions;
	is(scalar(keys %answers), 1, '100 connections give one answer');
	my $anonymous = 0;
	for my $session (@sessions)
	{
		my $pid = $session->query_safe('SELECT pg_backend_pid()');
		my $rollup = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/smaps");
		# what is mapped of the file counts for each by its share
		$anonymous += $1 while $rollup =~ /pgsql_tmp_ds_.*?\nPss:\s+(\d+) kB/sg;
	}
	my $size = -s file_of($folder, 'int8');
	cmp_ok($anonymous, '<=', $size / 1024 + 200, "they share one copy of it: $anonymous kB of " . int($size / 1024));
	$_->quit for @sessions;
}

done_testing();
