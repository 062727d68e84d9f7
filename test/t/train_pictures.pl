# Imported models over pictures, trained: ResNet, ViT, and CLIP, which reads texts, too. What is learned and stored is what
# a new session encodes with; frozen parts keep their bits; any number of workers, and a training that was cut off, give
# the same weights; the version before stays; what a source must be. Where the data is there, ResNet-20 on CIFAR-10.
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
$SIG{__DIE__} = sub { diag(@_) };

my $node = Shop::node('train_pictures');
my $models = PostgreSQL::Test::Utils::tempdir();
$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmax_parallel_workers = 8\nmax_parallel_maintenance_workers = 4");
$node->restart;
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }
sub error
{
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");
	return $err;
}
sub weights
{
	my ($name, $version, $which) = @_;
	my $wanted = $version // "(SELECT version FROM ds_models WHERE name = '$name')";
	return sql("SELECT md5(string_agg(md5(t.name || t.shape::text || chunk || data), '' ORDER BY t.name, chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = '$name' AND t.version = $wanted AND t.name LIKE '" . ($which // '%') . "'");
}
# what a version has, without the numbers
sub tensors
{
	my ($name, $version) = @_;
	return sql("SELECT string_agg(DISTINCT t.name || t.shape::text || t.dtype, ' ') FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = '$name' AND t.version = $version");
}
sub names
{
	my ($name, $version) = @_;
	return sql("SELECT string_agg(DISTINCT t.name || t.dtype, ' ') FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = '$name' AND t.version = $version");
}
# names of the tensors in which two versions differ
sub changed
{
	my ($name, $a, $b) = @_;
	return sql("SELECT string_agg(DISTINCT a.name, ' ') FROM ds_tensor a JOIN ds_tensor b USING (model, name, chunk) JOIN ds_model m ON m.id = a.model WHERE m.name = '$name' AND a.version = $a AND b.version = $b AND a.data <> b.data");
}
sub losses
{
	return split /\|/, sql('SELECT avg(loss) FILTER (WHERE epoch = 1), avg(loss) FILTER (WHERE epoch = last) FROM (SELECT epoch, loss, max(epoch) OVER () AS last FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_runs)) s');
}
sub first_loss { return sql('SELECT loss FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_runs) ORDER BY step LIMIT 1') }

# --- pictures of garments: the colour is a colour, dresses have stripes across, shirts along ---
my %colours = (red => [ 208, 32, 32 ], blue => [ 32, 32, 200 ]);
my $rows = '';
my $id = 0;
for my $n (0 .. 23)
{
	for my $colour (sort keys %colours)
	{
		for my $garment ('dress', 'shirt')
		{
			my $file = Model::png(24, $colours{$colour}, $garment eq 'dress', $n);
			$rows .= ++$id . "\t$n\t$colour $garment\t\\\\x" . unpack('H*', $file) . "\n";
		}
	}
}
Model::spew("$models/goods.tsv", $rows);
Model::resnet("$models/resnet");
Model::vit("$models/vit");
Model::clip("$models/clip");
Model::clip("$models/texts", texts => 1);
Model::bert("$models/bert", sentence => 1);
system('chmod', '-R', 'a+rX', $models);
sql('CREATE EXTENSION deepsearch; CREATE TABLE goods (id int PRIMARY KEY, n int, name text, image bytea, kind int GENERATED ALWAYS AS ((id - 1) % 4) STORED)');
sql("COPY goods (id, n, name, image) FROM '$models/goods.tsv'");
sql(<<'SQL');
-- dresses of one colour go with shirts of the other: nothing but training can tell that
CREATE VIEW outfits AS SELECT a.id, a.image AS a, b.image AS b, c.image AS wrong, d.image AS worse
	FROM goods a JOIN goods b ON b.n = (a.n + 5) % 16 AND b.kind = 3 - a.kind
	JOIN goods c ON c.n = a.n AND c.kind = a.kind # 1 JOIN goods d ON d.n = a.n AND d.kind = a.kind # 2 WHERE a.n < 16;
SQL
is(sql('SELECT count(*), count(DISTINCT a), count(DISTINCT b) FROM outfits'), '64|64|64', 'pairs');
sub imported { my ($name, $folder, $options) = @_; return sql("SELECT ds_import_model('$name', '$models/$folder', '" . ($options // '{}') . "')") }
# of pictures that were not seen, the share of the three nearest of other kinds that go with it
sub matches
{
	my ($model) = @_;
	return sql("WITH e AS MATERIALIZED (SELECT kind, ds_encode(image, '$model') AS emb FROM goods WHERE n >= 16)
		SELECT avg((a.kind = 3 - b.kind)::int)::float FROM e a CROSS JOIN LATERAL (SELECT kind FROM e c WHERE c.kind <> a.kind ORDER BY c.emb <=> a.emb LIMIT 3) b");
}
# the loss of a source's rows as one batch, by the embeddings
sub served
{
	my ($model, $source) = @_;
	return sql("WITH s AS (SELECT row_number() OVER () AS i, s.* FROM ($source) s (a, b)), e AS MATERIALIZED (SELECT i, ds_encode(a, '$model') AS q, ds_encode(b, '$model') AS d FROM s)
		SELECT avg(l) FROM (SELECT ln(sum(exp((1 - (x.q <=> y.d)) / 0.05))) - max((1 - (x.q <=> y.d)) / 0.05) FILTER (WHERE x.i = y.i) AS l FROM e x, e y GROUP BY x.i) l");
}
my $pairs = 'SELECT a, b, wrong FROM outfits ORDER BY id';
my $fast = '"learning_rate": 0.003, "epochs": 6, "batch_size": 16, "loss": "triplet", "margin": 0.5';
my $still = '{"learning_rate": 1e-12, "epochs": 1, "mirror": false, "keep_versions": 9}';
# four garments, one of each
my $four = 'SELECT a, b FROM outfits WHERE id <= 4 ORDER BY id';

# --- a convolutional network ---
imported('resnet', 'resnet');
my $first = weights('resnet');
my $before = matches('resnet');
my $shapes = tensors('resnet', 1);
my $embedding = sql("SELECT ds_encode(image, 'resnet') FROM goods WHERE id = 1");
sql("CALL ds_train('resnet', '$pairs', '{$fast, \"workers\": 1}')");
my ($begin, $end) = losses();
cmp_ok($end, '<', $begin / 2, "resnet: the loss falls from $begin to $end");
cmp_ok(matches('resnet'), '>', $before + 0.3, "what goes together is nearer than before ($before)");
is(weights('resnet', 1), $first, 'the first version is what it was');
is(tensors('resnet', 2), $shapes, 'a new one has the same tensors, in the same shapes');
like(changed('resnet', 1, 2), qr/image\.layer\.0\.norm\.weight.*image\.layer\.0\.weight/, 'with other weights');
unlike(changed('resnet', 1, 2), qr/\.(mean|var)\b/, 'but batch norm\'s averages stay');
is(sql("SELECT version, family, precision, dims, pairs, trained_on FROM ds_models WHERE name = 'resnet'"), "2|resnet|f32|32|64|$pairs", 'ds_models knows it');
is(sql("SELECT options -> 'batch_size', options -> 'mirror', options -> 'dropout', options -> 'duplicates' FROM ds_training_runs"), '16|true|0|"avoid"', 'the options of the run');
my $loss = served('resnet', $four);
sql("CALL ds_train('resnet', '$four', '$still')");
cmp_ok(abs(first_loss() - $loss), '<', 1e-3 * (1 + $loss), 'what a session encodes is what training knows');
sql("SELECT ds_use_version('resnet', 2)");
my $trained = weights('resnet');
my $exported = sql("SELECT count(*), sum(length(data)) > 10000 FROM ds_export_files('resnet', 'onnx')");
like($exported, qr/^[1-9]\d*\|t$/, 'it is exported to ONNX');

# --- workers; a picture that is a query and a document; averages that move; what stays frozen ---
for my $workers (2, 4)
{
	imported("w$workers", 'resnet');
	sql("CALL ds_train('w$workers', '$pairs', '{$fast, \"workers\": $workers}')");
	is(sql('SELECT processes FROM ds_training_runs ORDER BY run DESC LIMIT 1'), $workers, "$workers processes");
	is(weights("w$workers"), $trained, "$workers workers give the same weights");
}
imported('other', 'resnet');
# b is a's answer and a is b's: each is itself a document of the batch, which is no negative of it
sql("CALL ds_train('other', 'SELECT a, b FROM outfits WHERE id = 1 UNION ALL SELECT b, a FROM outfits WHERE id = 1', '$still')");
cmp_ok(first_loss(), '<', 1e-9, 'a picture is no negative of itself');
sql("CALL ds_train('other', '$pairs', '{$fast, \"epochs\": 1, \"batch_moments\": true, \"freeze\": [\"shared.layer.0\", \"shared.layer.2\"], \"mirror\": false, \"move\": 2}')");
my $differs = changed('other', 2, 3);
like($differs, qr/image\.layer\.\d+\.norm\.mean.*image\.layer\.\d+\.norm\.var/, 'averages that are told to move');
unlike($differs, qr/layer\.[02]\./, 'frozen layers keep their bits, averages too');
sql("CALL ds_train('other', '$pairs', '{$fast, \"epochs\": 1, \"freeze\": \"shared\"}')");
is(sql("SELECT version, document_since FROM ds_model_versions WHERE model = 'other' AND current"), '4|3', 'all frozen: documents keep their embeddings');
is(changed('other', 3, 4), '', 'and all of it its bits');
sql("CALL ds_train('other', 'SELECT a, ARRAY[b], ARRAY[wrong, worse] FROM outfits ORDER BY id', '{$fast, \"epochs\": 2, \"loss\": \"list_cross_entropy\"}')");
($begin, $end) = losses();
cmp_ok($end, '<', $begin, 'several wrong pictures in an array');
sql("CALL ds_train('other', 'SELECT a, ARRAY[b, wrong], ARRAY[1, 0] AS label FROM outfits ORDER BY id', '{\"loss\": \"regression\", \"epochs\": 1}')");
sql("CALL ds_train('other', '$pairs', '{$fast, \"epochs\": 2, \"from_scratch\": true}')");
is(sql("SELECT options -> 'batch_moments' FROM ds_training_runs ORDER BY run DESC LIMIT 1"), 'true', 'random weights learn by the moments of batches');
sql("SELECT ds_use_version('resnet', 1)");
is(sql("SELECT ds_encode(image, 'resnet') FROM goods WHERE id = 1"), $embedding, 'the first version encodes as ever');
sql("SELECT ds_use_version('resnet', 2)");

# --- pictures that cannot be read ---
like(error("CALL ds_train('other', 'SELECT a, CASE id WHEN 3 THEN ''x''::bytea ELSE b END FROM outfits ORDER BY id')"), qr/22P03: .*\n.*row 3 of the training source/, 'a bad picture is an error');
my $bad = error("CALL ds_train('other', 'SELECT a, CASE id WHEN 3 THEN ''x''::bytea ELSE b END FROM outfits ORDER BY id', '{\"on_error\": \"null\", \"epochs\": 1}')");
like($bad, qr/1 pictures of the training source could not be read/, 'or counted');
is(sql('SELECT pairs, skipped FROM ds_training_runs ORDER BY run DESC LIMIT 1'), '63|1', 'and its row left out');

my $wrong = q{SELECT a, b, CASE id WHEN 3 THEN ''x''::bytea ELSE wrong END%s FROM outfits ORDER BY id};
$bad = error("CALL ds_train('other', '" . sprintf($wrong, '') . "', '{\"on_error\": \"null\", \"epochs\": 1}')");
like($bad, qr/1 pictures of the training source could not be read/, 'a bad wrong picture');
is(sql('SELECT pairs, skipped FROM ds_training_runs ORDER BY run DESC LIMIT 1'), '64|0', 'is left out alone');
like(error("CALL ds_train('other', '" . sprintf($wrong, ', ARRAY[1, 0] AS label') . "', '{\"on_error\": \"null\", \"loss\": \"regression\"}')"), qr/22023: row 3 of the training source has a picture among its documents that cannot be read/, 'but not where it has a label');

# --- a vision transformer ---
imported('vit', 'vit');
$before = matches('vit');
$shapes = names('vit', 1);
sql("CALL ds_train('vit', '$pairs', '{$fast, \"workers\": 1}')");
($begin, $end) = losses();
cmp_ok($end, '<', $begin / 2, "vit: the loss falls from $begin to $end");
cmp_ok(matches('vit'), '>', $before + 0.3, "what goes together is nearer than before ($before)");
is(names('vit', 2), $shapes, 'the tensors are those of an import');
$loss = served('vit', $four);
sql("CALL ds_train('vit', '$four', '$still')");
cmp_ok(abs(first_loss() - $loss), '<', 1e-3 * (1 + $loss), 'what a session encodes is what training knows');
sql("CALL ds_train('vit', '$pairs', '{$fast, \"epochs\": 1, \"dropout\": 0.1, \"layer_decay\": 0.5, \"cache_texts\": 3, \"freeze\": [\"shared.patch\", \"shared.layer.0\"], \"rates\": {\"shared.layer.1.mlp\": 2}}')");
$differs = changed('vit', 3, 4);
like($differs, qr/image\.layer\.1\.mlp\.up\.weight/, 'its options are those of transformers');
unlike($differs, qr/image\.(patch|layer\.0)\./, 'what is frozen stays');
is(sql("SELECT count(*) FROM ds_export_files('vit', 'onnx') WHERE file = 'model.onnx'"), '1', 'it is exported to ONNX');

# memory: too little is an error, not the end of the server; with gradient caching a batch needs less
for my $workers (1, 2)
{
	like(error("SET deepsearch.training_memory = '4MB'; CALL ds_train('vit', '$pairs', '{\"batch_size\": 64, \"epochs\": 1, \"workers\": $workers}')"), qr/53200: out of memory for \d+ patches\nDETAIL:  Training may take 4 MB for what a batch leaves on its way\.\nHINT:  A smaller "batch_size" takes less/, "a batch that is too large, $workers workers");
	sql("SET deepsearch.training_memory = '4MB'; CALL ds_train('vit', '$pairs', '{\"batch_size\": 64, \"epochs\": 1, \"cache_texts\": 2, \"workers\": $workers}')");
}
sql('CREATE ROLE seller');
like(error("SELECT '[1]'::embedding; SET ROLE seller; SET deepsearch.training_memory = '1TB'"), qr/42501/, 'who may set it');

# --- texts and pictures ---
imported('clip', 'clip');
my $captions = 'SELECT name, image FROM goods WHERE n < 16 ORDER BY id';
my $clip = '"learning_rate": 0.003, "epochs": 15, "duplicates": "never", "workers": 1';
sub found
{
	my ($model) = @_;
	return sql("SELECT avg((g.name = q.name)::int)::float FROM (SELECT DISTINCT name FROM goods) q, LATERAL (SELECT name FROM goods WHERE n >= 16 ORDER BY ds_encode(image, '$model') <=> ds_encode(q.name, '$model') LIMIT 5) g");
}
$before = found('clip');
cmp_ok($before, '<', 0.7, "clip: random weights find the wrong pictures ($before)");
sql("CALL ds_train('clip', '$captions', '{$clip}')");
($begin, $end) = losses();
cmp_ok($end, '<', $begin / 2, "the loss falls from $begin to $end");
cmp_ok(found('clip'), '>', 0.8, 'texts find pictures that were not seen');
is(names('clip', 2), names('clip', 1), 'the tensors are those of an import');
is(sql("SELECT options -> 'mirror' FROM ds_training_runs ORDER BY run DESC LIMIT 1"), 'false', 'pictures with captions are not mirrored');
my $one = 'SELECT name, image FROM goods WHERE id <= 4 ORDER BY id';
$loss = served('clip', $one);
sql("CALL ds_train('clip', '$one', '$still')");
cmp_ok(abs(first_loss() - $loss), '<', 1e-3 * (1 + $loss), 'what a session encodes is what training knows');
# one tower alone
sql("CREATE TABLE kept AS SELECT id, ds_encode(image, 'clip')::text AS emb FROM goods WHERE id <= 20");
my $pictures = weights('clip', undef, 'image.%');
sql("CALL ds_train('clip', '$captions', '{$clip, \"epochs\": 1, \"freeze\": \"document\"}')");
is(sql("SELECT count(*) FROM kept JOIN goods USING (id) WHERE ds_encode(image, 'clip')::text = emb"), 20, 'frozen pictures keep their embeddings to the bit');
is(weights('clip', undef, 'image.%'), $pictures, 'and their tensors');
like(changed('clip', 3, 4), qr/layer\.0\.attention\.key\.weight/, 'while texts learn');
is(sql("SELECT document_since FROM ds_model_versions WHERE model = 'clip' AND current"), '3', 'what is encoded stays valid');
sql("CALL ds_train('clip', 'SELECT name, image FROM goods WHERE n < 16 ORDER BY id', '{$clip, \"epochs\": 1, \"freeze\": [\"query\", \"document.layer.0\"], \"symmetric\": true, \"learn_temperature\": true}')");
unlike(changed('clip', 4, 5), qr/(^| )(?!image)|image\.layer\.0/, 'frozen texts, and a layer of the pictures');
sql("CALL ds_train('clip', 'SELECT a.name, a.image, ARRAY[b.image, c.image] FROM goods a JOIN goods b ON b.name > a.name AND b.n = a.n JOIN goods c ON c.name <> a.name AND c.name <> b.name AND c.n = a.n ORDER BY 1, a.id, b.id, c.id', '{\"epochs\": 1, \"loss\": \"triplet\"}')");
# in the precision that it was imported with
imported('short', 'clip', '{"precision": "bf16"}');
sql("CALL ds_train('short', '$captions', '{$clip}')");
is(sql("SELECT precision, (SELECT string_agg(DISTINCT dtype, ' ') FROM ds_tensor t WHERE t.model = (SELECT id FROM ds_model m WHERE m.name = 'short') AND t.version = 2 AND t.name <> 'tokenizer') FROM ds_models WHERE name = 'short'"), 'bf16|f32', 'the precision of encoding stays, what is stored is f32');
cmp_ok(found('short'), '>', 0.8, 'texts find pictures with that, too');
is(sql("SELECT count(*) FROM ds_export_files('clip', 'onnx', '{\"tower\": \"image\"}') WHERE file = 'model.onnx'"), '1', 'the tower of the pictures is exported to ONNX');
is(sql("SELECT count(*) FROM ds_export_files('clip', 'huggingface', '{\"tower\": \"text\"}') WHERE file = 'model.safetensors'"), '1', 'that of the texts to the form of transformers');

# its texts alone are an encoder as others are
imported('texts', 'texts');
sql("CALL ds_train('texts', 'SELECT q, d FROM (VALUES (''red dress'', ''blue shirt''), (''blue dress'', ''red shirt''), (''summer shirt'', ''winter dress''), (''winter shirt'', ''summer dress'')) v (q, d)', '{\"learning_rate\": 0.003, \"epochs\": 60, \"workers\": 1}')");
($begin, $end) = losses();
cmp_ok($end, '<', $begin / 2, "texts of CLIP alone: the loss falls from $begin to $end");

# --- cut off, and on to the same weights; cancelled, and nothing left ---
Shop::pace($node, 0);
for my $kind ([ 'resnet', $pairs ], [ 'clip', $captions ])
{
	my ($folder, $source) = @$kind;
	my $options = '{"learning_rate": 0.001, "epochs": 3, "batch_size": 16, "checkpoint_steps": 2, "evaluate_steps": 1, "evaluate": "SELECT metric()"%s}';
	imported("$folder whole", $folder);
	imported("$folder cut", $folder);
	sql("CALL ds_train('$folder whole', '$source', '" . sprintf($options, '') . "')");
	sql('UPDATE pace SET seconds = 0.4');
	my $session = Shop::start($node, "CALL ds_train('$folder cut', '$source', '" . sprintf($options, '') . "')");
	ok($node->poll_query_until('postgres', "SELECT coalesce(max(checkpoint_step), 0) >= 4 FROM ds_training_runs WHERE model = '$folder cut'"), "$folder: there is a checkpoint");
	sql("SELECT pg_terminate_backend(pid) FROM ds_training_runs WHERE model = '$folder cut'");
	isnt(Shop::finish($session), 0, 'the session was cut off');
	is(sql("SELECT version FROM ds_models WHERE name = '$folder cut'"), '1', 'the model is what it was');
	sql('UPDATE pace SET seconds = 0');
	sql("CALL ds_train('$folder cut', '$source', '" . sprintf($options, ', "resume": true') . "')");
	is(weights("$folder cut"), weights("$folder whole"), 'the run goes on to the weights of one that was not cut off');
}
my $versions = sql('SELECT count(*) FROM ds_model_version');
my $tensors = sql('SELECT count(*) FROM ds_tensor');
like(error("SET statement_timeout = '1s'; CALL ds_train('resnet', '$pairs', '{\"epochs\": 10000}')"), qr/57014/, 'a training that is cancelled');
is(sql('SELECT count(*) FROM ds_model_version') . ' ' . sql('SELECT count(*) FROM ds_tensor'), "$versions $tensors", 'leaves nothing');
is(weights('resnet'), $trained, 'and the model as it was');

# --- steps on live models do what a training of one batch does ---
sql('CREATE TABLE asked AS SELECT array_agg(x.name ORDER BY x.id) AS names, array_agg(o.a ORDER BY o.id) AS a, array_agg(o.b ORDER BY o.id) AS b, array_agg(o.wrong ORDER BY o.id) AS wrong FROM outfits o JOIN goods x ON x.id = o.id WHERE o.id <= 8');
for my $case ([ 'resnet', 'a, b, wrong', 'NULL, images => b, negative_images => wrong, query_images => a', '' ],
	[ 'vit', 'a, b, wrong', 'NULL, images => b, negative_images => wrong, query_images => a', ', "dropout": 0' ],
	[ 'clip', 'name, b, wrong', 'names, images => b, negative_images => wrong', ', "dropout": 0' ])
{
	my ($name, $columns, $arguments, $more) = @$case;
	my $step = "\"learning_rate\": 0.001, \"mirror\": false$more";
	imported("$name at once", $name);
	imported("$name by step", $name);
	sql("CALL ds_train('$name at once', 'SELECT $columns FROM outfits o JOIN goods g USING (id) WHERE id <= 8 ORDER BY id', '{$step, \"epochs\": 1, \"batch_size\": 8, \"schedule\": \"constant\", \"warmup_steps\": 0}')");
	is(sql("SELECT version, step, pairs, skipped FROM asked, ds_train_step('$name by step', $arguments, options => '{$step}')"), '2|1|8|0', "$name: a step");
	my ($apart, $moved) = split /\|/, sql("SELECT max(ds_encode(image, '$name at once') <-> ds_encode(image, '$name by step')), max(ds_encode(image, '$name at once') <-> ds_encode(image, '$name')) FROM goods");
	cmp_ok($apart, '<', 1e-3 * $moved, "$name: a step leaves what a training of one batch does ($apart apart, $moved moved)");
	my ($then, $later) = split /\|/, sql("SELECT min(loss) FILTER (WHERE step = 2), min(loss) FILTER (WHERE step = 12) FROM asked, generate_series(2, 12) i, LATERAL ds_train_step('$name by step', $arguments, options => '{$step}' || jsonb_build_object('seed', i))");
	cmp_ok($later, '<', $then, "$name: later ones go on from there");
}
sql("SELECT ds_train_step('clip by step', names, images => b, options => '{\"freeze\": \"document\"}') FROM asked");
is(sql("SELECT count(*) FILTER (WHERE ds_encode(image, 'clip by step') = ds_encode(image, 'clip by step\@13')), count(*) FILTER (WHERE ds_encode(name, 'clip by step') = ds_encode(name, 'clip by step\@13')) FROM goods"),
	'96|0', 'clip: pictures that are frozen keep their embeddings');

# --- a dump brings it along ---
{
	my $all = "SELECT md5(string_agg(ds_encode(image, m)::text, ' ' ORDER BY m, id)) FROM goods, unnest(ARRAY['resnet', 'vit', 'clip', 'short']) m";
	my $dumped = PostgreSQL::Test::Utils::tempdir();
	sql('CREATE DATABASE other');
	$node->command_ok([ 'pg_dump', '-f', "$dumped/dump.sql", $node->connstr('postgres') ], 'dumped');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dumped/dump.sql", $node->connstr('other') ], 'restored');
	is($node->safe_psql('other', $all), sql($all), 'the restored models encode the same');
}

# --- what cannot be ---
imported('bert', 'bert');
my $shape = qr/HINT:  It gives rows \(text, picture\) or \(text, picture, wrong picture\)/;
like(error("CALL ds_train('clip', 'SELECT image, name FROM goods')"), qr/42804: column 1 \("image"\) of the training source has type bytea, not text\n$shape/, 'clip: the other way round');
like(error("CALL ds_train('clip', 'SELECT name, name FROM goods')"), qr/42804: column 2 \("name"\) of the training source has type text, not bytea\n$shape/, 'texts alone');
like(error("CALL ds_train('clip', 'SELECT name, image, name FROM goods')"), qr/42804: column 3 .* not bytea\n$shape/, 'a wrong text');
like(error("CALL ds_train('clip', 'DELETE FROM goods')"), qr/42601: the training source must be one SELECT\n$shape/, 'no query');
like(error("CALL ds_train('clip', 'SELECT name FROM goods')"), qr/42804: the training source gives 1 columns.*\n$shape/, 'too few columns');
$shape = qr/HINT:  It gives rows \(picture, picture\) or \(picture, picture, wrong picture\)/;
like(error("CALL ds_train('resnet', 'SELECT name, image FROM goods')"), qr/42804: column 1 \("name"\) of the training source has type text, not bytea\n$shape/, 'resnet: texts');
like(error("CALL ds_train('vit', 'SELECT image, image, image, image FROM goods')"), qr/42804: .*\n$shape/, 'too many columns');
like(error("CALL ds_train('resnet', '$pairs', '{\"freeze\": \"document\"}')"), qr/22023: model "resnet" has one network for the pictures of both sides\nHINT:  The names of its parts begin with "shared"/, 'a side of one network');
like(error("CALL ds_train('clip', '$captions', '{\"freeze\": \"shared.layer.0\"}')"), qr/22023: option "freeze": the model has no part "shared.layer.0"\nHINT:  Its parameters are: query\.token\.weight, .*document\.patch\.weight/, 'a part that is not there');
like(error("CALL ds_train('resnet', '$pairs', '{\"$_->[0]\": $_->[1]}')"), qr/22023: option "$_->[0]" is for transformers/, "$_->[0] is for others") for ([ 'dropout', 0.1 ], [ 'layer_decay', 0.9 ], [ 'cache_texts', 8 ]);
like(error("CALL ds_train('resnet', '$pairs', '{\"feature_dropout\": 0.1}')"), qr/22023: option "feature_dropout" is for models of embedding bags\nHINT:  This is a convolutional network/, 'no dropout at all for these');
like(error("CALL ds_train('resnet', '$pairs', '{\"from_scratch\": true, \"batch_moments\": false}')"), qr/22023: option "batch_moments" cannot be false with "from_scratch"/, 'random weights have no averages to keep');
like(error("CALL ds_train('vit', '$pairs', '{\"batch_moments\": true}')"), qr/22023: option "batch_moments" is for imported convolutional networks/, 'a transformer has no batch norm');
like(error("CALL ds_train('bert', 'SELECT name, name FROM goods', '{\"$_->[0]\": $_->[1]}')"), qr/22023: option "$_->[0]" is for imported models that read pictures\nHINT:  This one reads none/, "$_->[0] for a model of texts") for ([ 'mirror', 'true' ], [ 'move', 1 ]);
like(error("CALL ds_train('bert', 'SELECT name, image FROM goods')"), qr/42804: column 2 \("image"\) of the training source has type bytea, not text\nLOCATION/, 'pictures for a model of texts');
sql(q{SELECT ds_create_model('own', '{"image": {"width": 16}}')});
like(error(q{CALL ds_train('own', 'SELECT name, image FROM goods', '{"mirror": true}')}), qr/22023: option "mirror" .*\nHINT:  The config of this one says it: "image.mirror"/, 'a model of one\'s own has it in its config');
like(error("CALL ds_train('resnet', '$pairs', '{\"move\": 40}')"), qr/22023: .*cannot be moved by 40 pixels/, 'moved out of sight');
like(error("CALL ds_train('clip', '$captions', '{\"loss\": \"classes\"}')"), qr/22023/, 'a loss for others');
like(error(q{SELECT ds_train_step('clip', ARRAY['red'], ARRAY['dress'])}), qr/42804: column 2 \("positives"\) of the training source has type text, not bytea/, 'clip: a step of texts alone');
is(sql("SELECT count(*) FROM ds_training_runs WHERE state = 'running'"), 0, 'no run is left');

# --- a real network: CIFAR-10 ---
SKIP:
{
	my $data = ($ENV{DS_SHARED_DATA} // '') . '/models/resnet-cifar10';
	skip "needs the data of $data (DS_SHARED_DATA)", 4 unless -r "$data/test-images.tsv.gz";
	system("cp $data/resnet20.safetensors $models; gzip -dc $data/test-images.tsv.gz >$models/cifar.tsv; chmod a+r $models/cifar.tsv $models/resnet20.safetensors") == 0 or die 'cp';
	sql("CREATE TABLE cifar (id serial PRIMARY KEY, class int, name text, file bytea); COPY cifar (class, name, file) FROM '$models/cifar.tsv'");
	sql(<<'SQL');
CREATE TABLE seen AS SELECT id, class, file, row_number() OVER (PARTITION BY class ORDER BY id) AS n FROM cifar WHERE id % 10 <> 0;
CREATE VIEW classes AS SELECT a.id, a.file AS a, b.file AS b, c.file AS wrong FROM seen a JOIN seen b ON b.class = a.class AND b.n = a.n + 1
	JOIN seen c ON c.n = a.n AND c.class = (a.class + 1 + a.id % 9) % 10 WHERE a.n <= 100;
CREATE FUNCTION nearest(model text) RETURNS float LANGUAGE sql AS $$
	WITH e AS MATERIALIZED (SELECT id, class, ds_encode(file, model) AS emb FROM cifar WHERE id % 10 = 0)
	SELECT avg((a.class = b.class)::int)::float FROM e a CROSS JOIN LATERAL (SELECT class FROM e c WHERE c.id <> a.id ORDER BY c.emb <=> a.emb LIMIT 10) b WHERE a.id % 4 = 0
$$;
SQL
	imported('cifar', 'resnet20.safetensors');
	my $apart = sql("SELECT nearest('cifar')");
	sql("CALL ds_train('cifar', 'SELECT a, b, wrong FROM classes ORDER BY id', '{\"loss\": \"triplet\", \"margin\": 0.3, \"learning_rate\": 0.0002, \"epochs\": 2}')");
	($begin, $end) = losses();
	cmp_ok($end, '<', $begin, "ResNet-20: the loss falls from $begin to $end");
	my $together = sql("SELECT nearest('cifar')");
	cmp_ok($together, '>', $apart, "of 1,000 pictures that were not seen, the ten nearest are of the same class in $together of cases, not $apart");
	$loss = served('cifar', 'SELECT a, b FROM classes WHERE id IN (SELECT min(id) FROM seen GROUP BY class) ORDER BY id');
	sql("CALL ds_train('cifar', 'SELECT a, b FROM classes WHERE id IN (SELECT min(id) FROM seen GROUP BY class) ORDER BY id', '$still')");
	cmp_ok(abs(first_loss() - $loss), '<', 1e-3 * (1 + $loss), 'what a session encodes is what training knows');
	is(tensors('cifar', 2), tensors('cifar', 1), 'the tensors are those of its file');
}

$node->stop;
done_testing();
