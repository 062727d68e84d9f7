# Training over pictures: any number of workers gives the same weights; a training that was cut off goes on to the same
# weights; the served tower gives what training knows; many pictures, more than memory is allowed for; a folder of pictures.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Model;
use Shop;
use Time::HiRes qw(time usleep);
$SIG{__DIE__} = sub { diag(@_) };

my $node = Shop::node('image_train');
$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmax_parallel_workers = 8\nmax_parallel_maintenance_workers = 4");
$node->restart;
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }

my %colours = (red => [ 208, 32, 32 ], green => [ 32, 160, 32 ], blue => [ 32, 32, 200 ]);
my $folder = PostgreSQL::Test::Utils::tempdir();
mkdir "$folder/deep" or die;
my $rows = '';
my $id = 0;
for my $n (0 .. 39)
{
	for my $colour (sort keys %colours)
	{
		for my $form ('rows', 'columns')
		{
			my $file = Model::png(24, $colours{$colour}, $form eq 'rows', $n);
			$id++;
			$rows .= "$id\t$n\t$colour $form\tno $n in $colour\t\\\\x" . unpack('H*', $file) . "\n";
			next if $n;
			my $name = $form eq 'rows' ? "$folder/$colour.png" : "$folder/deep/$colour.PNG";
			open my $out, '>:raw', $name or die;
			print $out $file;
			close $out;
		}
	}
}
open my $out, '>', "$folder/goods.tsv" or die;
print $out $rows;
close $out;
for ([ 'cut.png', substr(Model::png(24, $colours{red}, 1, 1), 0, 200) ], [ 'text.jpg', 'no picture' ], [ 'large.png', Model::png(24, $colours{red}, 1, 1) . "\0" x 2000 ], [ 'notes.txt', 'not looked at' ], [ 'empty.jpeg', '' ])
{
	open my $file, '>:raw', "$folder/$_->[0]" or die;
	print $file $_->[1];
	close $file;
}
symlink $folder, "$folder/deep/circle";
system('chmod', '-R', 'a+rX', $folder);
sql('CREATE EXTENSION deepsearch; CREATE TABLE goods (id int PRIMARY KEY, n int, name text, title text, image bytea, emb embedding(16))');
sql("COPY goods (id, n, name, title, image) FROM '$folder/goods.tsv'");

my $bag = '"dense": [16], "embedding": {"dims": 16}, "tokenizer": {"vocabulary": 256, "buckets": 32, "min_count": 1}';
my $config = qq({"image": {"width": 20, "height": 16, "channels": 16, "move": 2, "leave_out": 0.1}, "fusion": "gated", $bag, "training": {"epochs": 3, "batch_size": 32}});
my $source = 'SELECT name, title, image FROM goods WHERE n < 30 ORDER BY id';
sub weights
{
	my ($name) = @_;
	return sql("SELECT md5(string_agg(md5(t.name || chunk || data), '' ORDER BY t.name, chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = '$name'");
}

# --- the number of workers, and the memory that pictures may take ---
my @same;
for my $setting ([ 1, '64MB' ], [ 2, '64MB' ], [ 4, '1MB' ])
{
	my ($workers, $memory) = @$setting;
	sql("SELECT ds_create_model('w', '$config')");
	# (180 pictures are 173 kB: with the least memory that is allowed they stay in it, so many more are added below)
	sql("SET maintenance_work_mem = '$memory'; CALL ds_train('w', '$source', '{\"workers\": $workers}')");
	is(sql('SELECT processes FROM ds_training_runs ORDER BY run DESC LIMIT 1'), $workers, "$workers processes");
	push @same, weights('w');
	sql("SELECT ds_drop_model('w')");
}
is(join(' ', @same), join(' ', ($same[0]) x 3), '1, 2 and 4 workers give the same weights');

# larger pictures than maintenance_work_mem holds go to a file, and are the same pictures
{
	my @other;
	(my $large = $config) =~ s/"width": 20, "height": 16/"width": 48, "height": 48/;
	for my $memory ('64MB', '1MB')
	{
		sql("SELECT ds_create_model('w', '$large')");
		sql("SET maintenance_work_mem = '$memory'; CALL ds_train('w', 'SELECT name, title, image FROM goods ORDER BY id', '{\"workers\": 1, \"epochs\": 1}')");
		push @other, weights('w');
		sql("SELECT ds_drop_model('w')");
	}
	is($other[0], $other[1], 'pictures in a temporary file are the same pictures');
}

# --- cut off, and on to the same weights ---
sql("SELECT ds_create_model('whole', '$config'), ds_create_model('cut', '$config')");
sql("CALL ds_train('whole', '$source', '{\"workers\": 1, \"epochs\": 4}')");
Shop::pace($node, 0.4);
my $options = '{"workers": 2, "epochs": 4, "checkpoint_steps": 2, "evaluate_steps": 1, "evaluate": "SELECT metric()"%s}';
my $call = "CALL ds_train('cut', '$source', '" . sprintf($options, '') . "')";
my $session = Shop::start($node, $call);
ok($node->poll_query_until('postgres', 'SELECT coalesce(max(checkpoint_step), 0) >= 4 FROM ds_training_run'), 'there is a checkpoint');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL ds_train%'});
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'CALL ds_train%'});
isnt(Shop::finish($session), 0, 'the session was cut off');
sql('UPDATE pace SET seconds = 0');
sql("CALL ds_train('cut', '$source', '" . sprintf($options, ', "resume": true') . "')");
is(sql("SELECT count(*) FROM ds_training_runs WHERE model = 'cut'"), '1', 'the run went on');

is(weights('cut'), weights('whole'), 'and ends with the weights of one that was not cut off');

# --- a version goes on from its tables: batch norm's averages too ---
my $before = sql("SELECT ds_encode(title, image, 'whole') FROM goods WHERE id = 1");
sql("CALL ds_train('whole', '$source', '{\"epochs\": 1, \"freeze\": [\"query\", \"document\"]}')");
is(sql("SELECT ds_encode(title, image, 'whole') FROM goods WHERE id = 1"), $before, 'a version whose towers are all frozen encodes as the one before');
is(sql("SELECT document_since FROM ds_model_versions WHERE model = 'whole' AND current"), '1', 'and its documents have stayed as they were');
sql("CALL ds_train('whole', '$source', '{\"epochs\": 2}')");
is(sql(q{SELECT avg(s.loss) FILTER (WHERE s.run = last) < avg(s.loss) FILTER (WHERE s.run = first) FROM ds_training_steps s,
	(SELECT min(run) AS first, max(run) AS last FROM ds_training_runs WHERE model = 'whole') r}), 't', 'the loss goes on where it was');

# --- what has not been seen is found; workers of ds_encode_table ---
sql("CALL ds_encode_table('goods', 'title, image', 'emb', 'whole', options => '{\"workers\": 2}')");
is(sql("SELECT count(*) FROM goods WHERE emb = ds_encode(title, image, 'whole')"), '240', 'by workers and one by one: the same');
cmp_ok(sql("SELECT avg((g.name = q.name)::int) FROM (SELECT DISTINCT name FROM goods) q,
	LATERAL (SELECT name FROM goods WHERE n >= 30 ORDER BY emb <=> ds_encode(q.name, 'whole') LIMIT 5) g"), '>', 0.8, 'pictures that were not seen are found');

# --- a dump brings it along ---
{
	my ($dumped) = PostgreSQL::Test::Utils::tempdir();
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	$node->command_ok([ 'pg_dump', '-f', "$dumped/dump.sql", $node->connstr('postgres') ], 'dumped');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dumped/dump.sql", $node->connstr('other') ], 'restored');
	is($node->safe_psql('other', "SELECT count(*) FROM goods WHERE emb = ds_encode(title, image, 'whole')"), '240', 'the restored model encodes the same');
}

# --- a folder of pictures ---
is(sql("SELECT name, image IS NOT NULL, error FROM ds_import_images('$folder')"), join("\n",
	'blue.png|t|', 'cut.png|f|' . sql("SELECT error FROM ds_import_images('$folder') WHERE name = 'cut.png'"),
	(map { "deep/$_.PNG|t|" } qw(blue green red)), 'empty.jpeg|f|' . sql("SELECT error FROM ds_import_images('$folder') WHERE name = 'empty.jpeg'"),
	'green.png|t|', 'large.png|t|', 'red.png|t|', 'text.jpg|f|the image is neither JPEG nor PNG'), 'the pictures of a folder; bad ones say why');
is(sql("SELECT count(*) FROM ds_import_images('$folder') WHERE error IS NOT NULL AND error <> ''"), '3', 'three are bad');
is(sql("SELECT string_agg(name, ' ') FROM ds_import_images('$folder/', false) WHERE image IS NOT NULL"), 'blue.png green.png large.png red.png', 'not the folders below');
is(sql("SELECT bool_and(image = g.image) FROM ds_import_images('$folder') i JOIN goods g USING (image)"), 't', 'the bytes are the file\'s');
is(sql("SET deepsearch.image_max_bytes = '1kB'; SELECT count(*) FROM ds_import_images('$folder') WHERE error LIKE '%the limit is 1024'"), '1', 'larger ones than the limit are not read');
sql('CREATE ROLE web; GRANT ALL ON SCHEMA public TO web');
my ($status, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE web; SELECT * FROM ds_import_images('$folder')");
like($error, qr/42501.*permission denied to read files/, 'only those who may');
(undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ds_import_images('$folder/nowhere')");
like($error, qr/58P01/, 'no such folder');
(undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ds_import_images('$folder/red.png')");
like($error, qr/42809.*is no folder/, 'a file');
(undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ds_import_images('pictures')");
like($error, qr/22023.*is not absolute/, 'a relative path');

# --- in shorter numbers ---
my %far = (fp16 => 1e-5, bf16 => 1e-3, int8 => 5e-3);
sql(qq(SELECT ds_create_model('plain', '{"image": {"width": 20, "height": 16, "channels": 16}, $bag, "training": {"epochs": 2, "batch_size": 32}}')));
sql("CALL ds_train('plain', 'SELECT name, image FROM goods WHERE n < 30 ORDER BY id')");
for my $to (sort keys %far)
{
	my ($count, $times, $cosine) = split /\|/, sql("SELECT texts, size_before::float / size_after, cosine_min FROM ds_quantize_model('whole', 'whole $to', '$to', '{\"calibration\": \"SELECT title FROM goods\"}')");
	is($count, 240, "$to: calibration by the text of documents");
	cmp_ok($times, '>', $to eq 'int8' ? 2.8 : 1.8, "$to: a fused tower is shorter");
	cmp_ok(1 - $cosine, '<', $far{$to}, "$to: its texts are near");
	cmp_ok(sql("SELECT max(ds_encode(title, image, 'whole $to') <=> ds_encode(title, image, 'whole')) FROM goods"), '<', $far{$to}, "$to: and with their pictures");
	is(sql("SELECT texts FROM ds_quantize_model('plain', 'plain $to', '$to', '{\"calibration\": \"SELECT DISTINCT name FROM goods\"}')"), 6, "$to: calibration by queries where documents are pictures");
	cmp_ok(sql("SELECT max(ds_encode(image, 'plain $to') <=> ds_encode(image, 'plain')) FROM goods"), '<', $far{$to}, "$to: pictures alone");
	cmp_ok(sql("SELECT count(DISTINCT dtype) FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = 'plain $to' AND t.name LIKE 'document.layer.%.weight' AND array_length(shape, 1) = 2 AND dtype <> 'f32'"), '>', 0, "$to: convolutions are stored so");
}
cmp_ok(sql("SELECT avg((g.name = q.name)::int) FROM (SELECT DISTINCT name FROM goods) q,
	LATERAL (SELECT name FROM goods WHERE n >= 30 ORDER BY ds_encode(title, image, 'whole int8') <=> ds_encode(q.name, 'whole int8') LIMIT 5) g"), '>', 0.8, 'pictures are found by numbers of 8 bits');
# a training goes on from them, in f32
sql("CALL ds_train('whole int8', '$source', '{\"epochs\": 1, \"freeze\": [\"query\", \"document\"]}')");
is(sql("SELECT \"precision\" FROM ds_models WHERE name = 'whole int8'"), 'f32', 'a training from int8 has f32');

# --- what such models are not made into ---
(undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ds_export_files('whole', 'tflite', '{\"side\": \"document\"}')");
like($error, qr/0A000: .*\n.*A tower over pictures/, 'no file of TensorFlow Lite of them');
is($node->safe_psql('postgres', "SELECT count(*) FROM ds_export_files('whole', 'onnx', '{\"side\": \"document\"}') WHERE file = 'model.onnx'"), '1', 'but one of ONNX');

done_testing();
