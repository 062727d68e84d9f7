# Models written to files and read back; who may write where, and what is left after an error.
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

my $node = Shop::node('export');
my $models = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }

# the error of a statement
sub error
{
	my ($sql, $role) = @_;
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", $role ? (extra_params => [ '-U', $role ]) : ());
	$err =~ s/^psql:\S+ //mg;
	return $err;
}

# what lies in a folder
sub listing
{
	my ($folder) = @_;
	opendir my $dir, $folder or return '';
	return join ' ', sort grep { !/^\.\.?$/ } readdir $dir;
}

sub refused
{
	my ($sql, $error, $what, $role) = @_;
	my $before = listing($models);
	like(error($sql, $role), $error, $what);
	is(listing($models), $before, "$what: nothing is left");
	return;
}

sql('CREATE EXTENSION deepsearch; CREATE ROLE someone LOGIN; CREATE ROLE writer LOGIN IN ROLE pg_write_server_files');
mkdir "$models/in";
Model::static("$models/in/static", 8);
Model::bert("$models/in/bert", sentence => 1, prompts => 1);
Model::bert("$models/in/cross", classes => 1);
Model::bert("$models/in/grades", classes => 3);

# --- there and back: the same weights, the same description, the same answers ---
my $weights = q{SELECT md5(string_agg(t.name || t.chunk || t.dtype || t.shape::text || md5(t.data), ',' ORDER BY t.name, t.chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = };
my $texts = q{unnest(ARRAY['', 'red dress', 'red dresses and blue shirts for summer', 'unheard of', 'a' || repeat(' shoe', 40)])};
my %answers = (
	static => "SELECT string_agg(ds_encode(t, 'NAME')::text, ' ' ORDER BY t) FROM $texts t",
	bert => "SELECT string_agg(ds_encode(t, 'NAME', 'query')::text || ds_encode(t, 'NAME', 'document')::text, ' ' ORDER BY t) FROM $texts t",
	cross => "SELECT string_agg(ds_score(t, 'red shoe', 'NAME')::text, ' ' ORDER BY t) FROM $texts t",
	grades => "SELECT string_agg((ds_classify(t, 'red shoe', 'NAME'))::text, ' ' ORDER BY t) FROM $texts t",
);
for my $name (sort keys %answers)
{
	sql("SELECT ds_import_model('$name', '$models/in/$name')");
	my $files = sql("SELECT string_agg(file || ' ' || size, E'\\n' ORDER BY file) FROM ds_export_model('$name', '$models/$name')");
	is($files, join("\n", map { "$_ " . -s "$models/$name/$_" } map { s/ .*//r } split /\n/, $files), "$name: the files and their sizes");
	sql("SELECT ds_import_model('$name back', '$models/$name')");
	is(sql("SELECT ds_model_config('$name back') = ds_model_config('$name')"), 't', "$name: the same description comes back");
	is(sql("$weights '$name back'"), sql("$weights '$name'"), "$name: and the same weights");
	my ($before, $after) = map { sql($answers{$name} =~ s/NAME/$_/gr) } $name, "$name back";
	is($after, $before, "$name: and the same answers");
	# to a client and back, and from there: the same files
	sql("SELECT ds_upload('$name', file, \"offset\", data) FROM ds_export_files('$name'); SELECT ds_import_model('$name sent', upload => '$name'); SELECT ds_drop_upload('$name')");
	is(sql("$weights '$name sent'"), sql("$weights '$name'"), "$name: sent to a client and back");
	sql("SELECT count(*) FROM ds_export_model('$name back', '$models/again')");
	is(system("diff -r '$models/$name' '$models/again' >&2"), 0, "$name: exported again, it is the same to the byte");
	PostgreSQL::Test::Utils::system_or_bail('rm', '-r', "$models/again");
}
is(listing($models), 'bert cross grades in static', 'nothing else is there');
is(listing("$models/bert"), '1_Pooling 2_Normalize config.json config_sentence_transformers.json model.safetensors modules.json sentence_bert_config.json tokenizer.json tokenizer_config.json' =~ s/2_Normalize //r, 'a folder of sentence-transformers');

# the tokenizer's file goes along as it came
is(PostgreSQL::Test::Utils::slurp_file("$models/bert/tokenizer.json"), PostgreSQL::Test::Utils::slurp_file("$models/in/bert/tokenizer.json"), 'tokenizer.json');

# --- Google's checkpoints of BERT ---
sql("SELECT count(*) FROM ds_export_model('bert', '$models/google', 'tensorflow'); SELECT ds_import_model('google', '$models/google'); SELECT count(*) FROM ds_export_model('google', '$models/google again', 'tensorflow')");
is(listing("$models/google"), '1_Pooling bert_config.json bert_model.ckpt.data-00000-of-00001 bert_model.ckpt.index config_sentence_transformers.json modules.json sentence_bert_config.json tokenizer.json tokenizer_config.json',
	'a checkpoint of TensorFlow');
is(sql("SELECT ds_model_config('google') = ds_model_config('bert')"), 't', 'the same description comes back from it');
is(sql($answers{bert} =~ s/NAME/google/gr), sql($answers{bert} =~ s/NAME/bert/gr), 'and the same answers');
is(system("diff -r '$models/google' '$models/google again' >&2"), 0, 'exported again, it is the same to the byte');
sql("SELECT ds_upload('google', file, \"offset\", data) FROM ds_export_files('google', 'tensorflow'); SELECT ds_import_model('google sent', upload => 'google')");
is(sql($answers{bert} =~ s/NAME/google sent/gr), sql($answers{bert} =~ s/NAME/bert/gr), 'the same of what is sent to a client and back');
# kernels that are stored the other way round are turned once more
sql("SELECT count(*) FROM ds_export_model('google', '$models/turned'); SELECT ds_import_model('turned', '$models/turned')");
is(sql("$weights 'turned'"), sql("$weights 'bert'"), 'from it a folder of Hugging Face: the same weights as at first');
refused("SELECT ds_export_model('static', '$models/no', 'tensorflow')", qr/ERROR:  0A000: .*"tensorflow"\nDETAIL:  a model of the family "[^"]*" has no counterpart/, 'no checkpoint of a static table');
refused("SELECT ds_export_model('cross', '$models/no', 'tensorflow')", qr/ERROR:  0A000: .*\nDETAIL:  a head that scores has no counterpart/, 'no checkpoint of a cross-encoder');

# --- TensorFlow Lite (what the files compute is seen by make test-export) ---
for my $precision (qw(f32 fp16 int8))
{
	sql("SELECT count(*) FROM ds_export_model('bert', '$models/lite', 'tflite', '{\"precision\": \"$precision\", \"tokens\": 8}')");
	is(listing("$models/lite"), 'deepsearch.json model.tflite tokenizer.json', "TensorFlow Lite, $precision");
	is(substr(PostgreSQL::Test::Utils::slurp_file("$models/lite/model.tflite"), 4, 4), 'TFL3', "$precision: the mark of such files");
	PostgreSQL::Test::Utils::system_or_bail('rm', '-r', "$models/lite");
}
sql("SELECT count(*) FROM ds_export_model('cross', '$models/lite', 'tflite')");
cmp_ok(-s "$models/lite/model.tflite", '>', 1000, 'a cross-encoder, of the length that is usual');
refused("SELECT ds_export_model('bert', '$models/no', 'tflite', '{\"tokens\": 100000}')", qr/ERROR:  22023: /, 'a length beyond all bounds');
refused("SELECT ds_export_model('bert', '$models/no', 'tflite', '{\"tokens\": 13}')", qr/ERROR:  22023: tokens must be between 1 and 12/, 'a length beyond the model\'s');
refused("SELECT ds_export_model('bert', '$models/no', 'onnx', '{\"precision\": \"fp16\"}')", qr/ERROR:  0A000: .*\nDETAIL:  fp16 has no counterpart/, 'fp16 is not one of ONNX\'s here');
PostgreSQL::Test::Utils::system_or_bail('rm', '-r', "$models/lite");

# --- SavedModels of TensorFlow (the same) ---
# the names of a checkpoint's tensors, which are found in the graph
sub variables
{
	my ($folder) = @_;
	my $index = PostgreSQL::Test::Utils::slurp_file("$folder/variables/variables.index");
	my $graph = PostgreSQL::Test::Utils::slurp_file("$folder/saved_model.pb");
	my %names;
	# VariableDef: the name with its length before it
	while ($graph =~ /\x0a(.)([\w.]+):0\x12/gs) { $names{$2} = 1 if ord($1) == length($2) + 2 }
	is(substr($index, -8), pack('VV', 0x8b80fb57, 0xdb477524), 'the mark of an index');
	like($graph, qr/\Q$_\E/, "the graph has $_") for qw(serve serving_default tensorflow/serving/predict save/restore_all);
	return join ' ', sort keys %names;
}
my $beside = 'saved_model.pb tokenizer.json variables';
my $files = sql("SELECT string_agg(file || ' ' || size, E'\\n' ORDER BY file) FROM ds_export_model('bert', '$models/saved', 'saved_model')");
is(listing("$models/saved"), "deepsearch.json $beside", 'a SavedModel');
is(listing("$models/saved/variables"), 'variables.data-00000-of-00001 variables.index', 'its weights are a checkpoint');
is($files, join("\n", map { "$_ " . -s "$models/saved/$_" } map { s/ .*//r } split /\n/, $files), 'its files and their sizes');
is($files =~ tr/\n//, 4, 'all of them are told');
like(variables("$models/saved"), qr/^embedding.norm.bias .*layer.0.attention.key.weight .*token.weight type.weight$/, 'its weights');
is(PostgreSQL::Test::Utils::slurp_file("$models/saved/tokenizer.json"), PostgreSQL::Test::Utils::slurp_file("$models/in/bert/tokenizer.json"), 'the tokenizer as it came');
is(sql("SELECT string_agg(file || ' ' || bytes, E'\\n' ORDER BY file) FROM (SELECT file, sum(octet_length(data)) AS bytes FROM ds_export_files('bert', 'saved_model') GROUP BY file) f"), $files, 'the same for a client, with the folder in the names');
sql("SELECT count(*) FROM ds_export_model('bert', '$models/saved again', 'saved_model')");
is(system("diff -r '$models/saved' '$models/saved again' >&2"), 0, 'exported again, it is the same to the byte');
refused("SELECT ds_import_model('no', '$models/saved')", qr/ERROR:  0A000: .*saved_model.pb is a graph to be run, which no model can be read from/, 'a graph is not read');
sql("SELECT ds_upload('saved', file, \"offset\", data) FROM ds_export_files('bert', 'saved_model')");
refused("SELECT ds_import_model('no', upload => 'saved')", qr/ERROR:  0A000: .*saved_model.pb is a graph to be run/, 'nor one that was sent to a client and back');
sql("SELECT ds_drop_upload('saved')");
refused("SELECT ds_export_model('bert', '$models/no', 'saved_model', '{\"precision\": \"$_\"}')", qr/ERROR:  0A000: .*"saved_model"\nDETAIL:  $_ has no counterpart/, "no $_ of it") for qw(int8 fp16);
for my $name (qw(static cross grades))
{
	sql("SELECT count(*) FROM ds_export_model('$name', '$models/saved $name', 'saved_model')");
	is(listing("$models/saved $name"), "deepsearch.json $beside", "a SavedModel of the model \"$name\"");
	cmp_ok(-s "$models/saved $name/variables/variables.data-00000-of-00001", '>', 100, 'with weights');
}
refused("SELECT ds_export_model('bert', '$models/saved', 'saved_model')", qr/ERROR:  58P02: "[^"]*" already exists/, 'a folder that is there');
chmod 0777, $models;
refused("SELECT ds_export_model('bert', '$models/no', 'saved_model')", qr/ERROR:  42501: permission denied for model "bert"/, 'someone else\'s model as a SavedModel', 'writer');

# --- heads, dense layers, prompts of models that were made here; precisions ---
my $vocab = join "\n", @Model::WORDS;
sql(qq{SELECT ds_create_model('made', jsonb_build_object('encoder', '{"layers": 2, "hidden": 32, "heads": 4, "dims": 12, "max_tokens": 20, "activation": "gelu_tanh"}'::jsonb,
	'tokenizer', jsonb_build_object('vocab', \$\$$vocab\$\$), 'prompts', '{"query": "red \\"blue\\\\ \\u0001夏"}'::jsonb, 'precision', 'int8'))});
sql("SELECT count(*) FROM ds_export_model('made', '$models/made'); SELECT ds_import_model('made back', '$models/made', '{\"precision\": \"int8\"}')");
is(sql("SELECT ds_model_config('made back') = ds_model_config('made')"), 't', 'a model that was made here');
is(sql("$weights 'made back'"), sql("$weights 'made'"), 'its weights');
is(sql($answers{bert} =~ s/NAME/made back/gr), sql($answers{bert} =~ s/NAME/made/gr), 'its embeddings, prompts included');
refused("SELECT ds_export_model('made', '$models/no', 'tensorflow')", qr/ERROR:  0A000: .*\nDETAIL:  a layer behind the pooling has no counterpart/, 'no checkpoint of a model with a dense layer');
like(listing("$models/made"), qr/2_Dense .*vocab\.txt/, 'its dense layer has a folder, its tokenizer is a vocabulary');

# --- models that others have published ---
SKIP:
{
	my $data = ($ENV{DS_SHARED_DATA} // '../shared/data') . '/models';
	my @real = grep { -d "$data/$_" } qw(tiny-bert-random/tiny_bert tiny-bert-random/tiny_nomic tiny-bert-1layer-random tiny-modernbert-random
		model2vec/test-model-float16 model2vec/test-model-float32 model2vec/test-model-int8 model2vec/test-model-vocab-quantized model2vec/test-model-sentence-transformers);
	skip "needs models of $data", 1 unless @real;
	for my $real (@real)
	{
		my $to = "$models/" . $real =~ s{.*/}{}r;
		PostgreSQL::Test::Utils::system_or_bail('cp', '-r', '--no-preserve=mode', "$data/$real", "$to-in");
		sql("SELECT ds_import_model('real', '$to-in'); SELECT count(*) FROM ds_export_model('real', '$to'); SELECT ds_import_model('real back', '$to')");
		is(sql("SELECT ds_model_config('real back') = ds_model_config('real')"), 't', "$real: the same description comes back");
		# of 64 bits a number keeps the 32 that are used
		is(sql("$weights 'real back'"), sql("$weights 'real'"), "$real: the same weights") unless $real =~ /vocab-quantized/;
		my $ask = $answers{$real =~ /modernbert/ ? "grades" : "bert"};
		is(sql($ask =~ s/NAME/real back/gr), sql($ask =~ s/NAME/real/gr), "$real: the same answers");
		sql("SELECT ds_drop_model('real'), ds_drop_model('real back')");
		PostgreSQL::Test::Utils::system_or_bail('rm', '-r', $to, "$to-in");
	}
}

# --- what has no counterpart ---
sql(q{SELECT ds_create_model('shop'); CREATE TABLE clicks (query text, title text); INSERT INTO clicks SELECT 'red dress ' || i, 'a red dress, number ' || i FROM generate_series(1, 50) i});
refused("SELECT ds_export_model('shop', '$models/shop')", qr/ERROR:  55000: model "shop" is not trained/, 'a model that is not trained');
sql(q{CALL ds_train('shop', 'SELECT query, title FROM clicks', '{"epochs": 1}')});
# a dual encoder has a folder of its own, which is read back as it was; graphs with the tokenizer as data
refused("SELECT ds_export_model('shop', '$models/no', 'tensorflow')", qr/ERROR:  0A000: .*"tensorflow"\nDETAIL:  A dual encoder that was trained here has no counterpart/, 'no checkpoint of a dual encoder');
sql("SELECT count(*) FROM ds_export_model('shop', '$models/shop'); SELECT ds_import_model('shop back', '$models/shop')");
is(listing("$models/shop"), 'config.json model.safetensors shared.ngrams.bin shared.ngrams.json', 'the folder of a dual encoder');
is(sql("$weights 'shop back'"), sql("$weights 'shop'"), 'its weights and tokenizer come back');
is(sql("SELECT ds_model_config('shop back') = ds_model_config('shop')"), 't', 'and its config');
is(sql("SELECT count(*) FROM clicks WHERE ds_encode(title, 'shop') <> ds_encode(title, 'shop back')"), '0', 'and its embeddings, to the bit');
sql("SELECT ds_upload('shop', file, \"offset\", data) FROM ds_export_files('shop'); SELECT ds_import_model('shop sent', upload => 'shop')");
is(sql("$weights 'shop sent'"), sql("$weights 'shop'"), 'the same of what is sent to a client and back');
sql(q{CALL ds_train('shop back', 'SELECT query, title FROM clicks', '{"epochs": 1}')});
is(sql("SELECT version FROM ds_models WHERE name = 'shop back'"), '2', 'what came back can be trained');
# a version that is stored as changes of another one
sql(q{SELECT ds_train_step('shop sent', ARRAY['red dress 1', 'red dress 2'], ARRAY['a red dress, number 1', 'a red dress, number 2'])});
sql("SELECT count(*) FROM ds_export_model('shop sent', '$models/stepped'); SELECT ds_import_model('stepped', '$models/stepped')");
is(sql("SELECT count(*) FROM clicks WHERE ds_encode(title, 'shop sent') <> ds_encode(title, 'stepped')"), '0', 'a version of ds_train_step comes back as it is');
cmp_ok(sql("SELECT count(*) FROM clicks WHERE ds_encode(title, 'shop') <> ds_encode(title, 'stepped')"), '>', 0, 'which is another one');
for my $format (qw(onnx tflite))
{
	sql("SELECT count(*) FROM ds_export_model('shop', '$models/shop-$format', '$format', '{\"precision\": \"int8\"}')");
	is(listing("$models/shop-$format"), "deepsearch.json model.$format ngrams.bin ngrams.json", "a dual encoder as $format");
}
sql("SELECT count(*) FROM ds_export_model('shop', '$models/shop-saved', 'saved_model')");
is(listing("$models/shop-saved"), 'deepsearch.json ngrams.bin ngrams.json saved_model.pb variables', 'a dual encoder as a SavedModel');
like(variables("$models/shop-saved"), qr/^dense\.0\.bias dense\.0\.weight .*embedding$/, 'its weights');
sql("SELECT count(*) FROM ds_export_model('shop sent', '$models/stepped-saved', 'saved_model')");
isnt(PostgreSQL::Test::Utils::slurp_file("$models/stepped-saved/variables/variables.data-00000-of-00001"), PostgreSQL::Test::Utils::slurp_file("$models/shop-saved/variables/variables.data-00000-of-00001"), 'a version of ds_train_step has other weights');
refused("SELECT ds_export_model('shop', '$models/no', options => '{\"tower\": \"text\"}')", qr/ERROR:  22023: option "tower" is for/, 'no tower for texts alone');
refused("SELECT ds_import_model('shop', '$models/shop')", qr/ERROR:  42710: model "shop" already exists/, 'a model that is there');
refused("SELECT ds_import_model('shop', '$models/shop', '{\"replace\": true}')", qr/ERROR:  42809: model "shop" was not imported/, 'one that was trained here is not replaced');
refused("SELECT ds_import_model('new', '$models/shop', '{\"precision\": \"int8\"}')", qr/ERROR:  22023: a dual encoder is imported as it was/, 'options that a dual encoder has not');
my %damage = (
	'config.json' => [ [ '"version": 1', '"version": 2', qr/ERROR:  0A000: the folder has version 2/ ], [ '"version": 1', '"version": "1"', qr/ERROR:  XX001: .*has no version/ ],
		[ '"towers": "shared"', '"towers": "many"', qr/ERROR:  22023: .*towers/ ], [ '"embedding": {"dims": 128}', '"embedding": {"dims": 64}', qr/ERROR:  XX001: .*shared\.(embedding|dense).*another shape/ ], [ '"config"', '"konfig"', qr/ERROR:  XX001: .*has no config/ ] ],
	'model.safetensors' => [ [ 'shared.embedding', 'shared.enbedding', qr/ERROR:  XX001: .*shared.embedding.*missing/ ], [ 'shared.embedding', 'querys.embedding', qr/ERROR:  XX001: .*no tensor "querys/ ], [ 'shared.embedding', 'shared.token#zer', qr/ERROR:  XX001: .*no tensor "shared.token#/ ] ],
	'shared.ngrams.bin' => [ [ 'DSTK', 'KTSD', qr/ERROR:  XX001: this is not a tokenizer/ ] ]);
for my $file (sort keys %damage)
{
	my $good = PostgreSQL::Test::Utils::slurp_file("$models/shop/$file");
	for my $case (@{ $damage{$file} })
	{
		my ($from, $to, $error) = @$case;
		my $bad = $good =~ s/\Q$from\E/$to/r;
		isnt($bad, $good, "$file with $to instead of $from");
		Model::spew("$models/shop/$file", $bad);
		refused("SELECT ds_import_model('new', '$models/shop')", $error, 'is refused');
	}
	Model::spew("$models/shop/$file", $good);
}
unlink "$models/shop/shared.ngrams.bin";
refused("SELECT ds_import_model('new', '$models/shop')", qr/ERROR:  XX001: .*file "shared.ngrams.bin" is missing/, 'a folder without its tokenizer');
is(sql("SELECT count(*) FROM ds_models WHERE name = 'new'"), '0', 'of which nothing is left');

# networks over pictures, and features
Model::vit("$models/in/vit");
sql("SELECT ds_import_model('vit', '$models/in/vit'); SELECT count(*) FROM ds_export_model('vit', '$models/vit', 'onnx')");
is(listing("$models/vit"), 'model.onnx preprocessor_config.json', 'a network over pictures as ONNX');
sql("SELECT count(*) FROM ds_export_model('vit', '$models/vit saved', 'saved_model')");
is(listing("$models/vit saved"), 'preprocessor_config.json saved_model.pb variables', 'and as a SavedModel');
refused("SELECT ds_export_model('vit', '$models/no', 'saved_model', '{\"precision\": \"int8\"}')", qr/ERROR:  0A000: .*"saved_model"\nDETAIL:  int8 .*has no counterpart/, 'not in int8 either');
refused("SELECT ds_export_model('vit', '$models/no', 'onnx', '{\"precision\": \"int8\"}')", qr/ERROR:  0A000: .*\nDETAIL:  int8 of a network over pictures has no counterpart/, 'not in int8');
refused("SELECT ds_export_model('vit', '$models/no', '$_')", qr/ERROR:  0A000: .*\nDETAIL:  A network over pictures has no counterpart/, "no $_ of it") for qw(huggingface tflite tensorflow);
refused("SELECT ds_export_model('vit', '$models/no', 'onnx', '{\"tower\": \"text\"}')", qr/ERROR:  22023: model "vit" has no tower for texts/, 'nor a tower that it has not');
sql(q{SELECT ds_create_model('heads', '{"features": 4, "dense": [3], "towers": "separate"}'); CREATE TABLE features AS SELECT ARRAY[i, i % 3, i % 5, 1]::real[] AS a, ARRAY[i % 7, i, 2, i]::real[] AS b FROM generate_series(1, 40) i; CALL ds_train('heads', 'SELECT a, b FROM features', '{"epochs": 1}')});
refused("SELECT ds_export_model('heads', '$models/no', 'onnx')", qr/ERROR:  0A000: .*queries and another one for documents\nHINT:  .*"side"/, 'of two towers one is to be named');
sql("SELECT count(*) FROM ds_export_model('heads', '$models/heads', 'onnx', '{\"side\": \"document\"}')");
is(listing("$models/heads"), 'model.onnx', 'a head on features as ONNX');
sql("SELECT count(*) FROM ds_export_model('heads', '$models/heads saved', 'saved_model', '{\"side\": \"document\"}')");
is(listing("$models/heads saved"), 'saved_model.pb variables', 'as a SavedModel');
sql("SELECT count(*) FROM ds_export_model('heads', '$models/heads folder'); SELECT ds_import_model('heads back', '$models/heads folder')");
is(sql("$weights 'heads back'"), sql("$weights 'heads'"), 'its folder comes back');
sql(q{UPDATE ds_model_version SET config = jsonb_set(config, '{encoder,pool_skip}', '1') WHERE model = (SELECT id FROM ds_model WHERE name = 'bert back')});
refused("SELECT ds_export_model('bert back', '$models/shop')", qr/ERROR:  0A000: .*\nDETAIL:  the model's "pool_skip" has no counterpart/, 'a pooling that the format cannot say');

# --- shorter numbers ---
my %most = (fp16 => 0.00001, bf16 => 0.001, int8 => 0.01);
for my $to (sort keys %most)
{
	my ($stored, $before, $after, $count, $cosine, $same) = split /\|/, sql(qq{SELECT stored_as, size_before, size_after, texts, 1 - cosine_min, same_nearest FROM ds_quantize_model('shop', 'shop $to', '$to',
		'{"calibration": "SELECT title FROM clicks"}')});
	is("$stored $count", "$to 50", "$to: a dual encoder and its calibration texts");
	cmp_ok($cosine, '<', $most{$to}, "$to: its embeddings are near");
	is(sql("SELECT size = $after AND \"precision\" = '$to' AND report ->> 'size_before' = '$before' AND report ->> 'texts' = '50' FROM ds_model_versions WHERE model = 'shop $to'"), 't', "$to: what was measured is kept");
	is(sql("SELECT sum(octet_length(data)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = 'shop $to'"), $after, "$to: its size is that of its tensors");
	my $table = sub { return sql("SELECT sum(octet_length(data)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = '$_[0]' AND split_part(t.name, '#', 1) = 'shared.embedding'") };
	cmp_ok($table->('shop') / $table->("shop $to"), '>', $to eq 'int8' ? 3.8 : 1.99, "$to: its table is shorter");
	($before, $after, $cosine) = split /\|/, sql(qq{SELECT size_before, size_after, 1 - cosine_min FROM ds_quantize_model('made', 'made $to', '$to', '{"calibration": "SELECT title FROM clicks"}')});
	cmp_ok($cosine, '<', 0.01, "$to: a transformer");
	# what is stored shorter is what comes back from a file
	sql("SELECT count(*) FROM ds_export_model('made $to', '$models/short'); SELECT ds_import_model('made $to back', '$models/short', jsonb_build_object('precision', ds_model_config('made $to') ->> 'precision'))");
	cmp_ok(sql("SELECT max(ds_encode(t, 'made $to') <=> ds_encode(t, 'made $to back')) FROM unnest(ARRAY['red dress', 'blue shoe for summer']) t"), '<', $to eq 'int8' ? 1e-4 : 1e-12, "$to: exported and imported");
	PostgreSQL::Test::Utils::system_or_bail('rm', '-r', "$models/short");
	like(sql("SELECT (ds_quantize_model('static', 'static $to', '$to')).size_after"), qr/^\d+$/, "$to: without a calibration query");
}
sql(q{CALL ds_train('shop int8', 'SELECT query, title FROM clicks', '{"epochs": 1}')});
is(sql(q{SELECT "precision" FROM ds_models WHERE name = 'shop int8'}), 'f32', 'a training goes on from shorter numbers, in f32');
refused("SELECT ds_quantize_model('shop', 'bert', 'int8')", qr/ERROR:  42710: model "bert" already exists/, 'a name that is taken');
refused("SELECT ds_quantize_model('shop', 'q', 'int4')", qr/ERROR:  22023: unknown precision "int4"/, 'no such precision');
refused("SELECT ds_quantize_model('shop', 'q', 'int8', '{\"calibration\": \"SELECT 1, 2\"}')", qr/ERROR:  42804: calibration has the wrong number of columns/, 'a calibration query of two columns');
refused("SELECT ds_quantize_model('shop', 'q', 'int8', '{\"calibration\": \"DELETE FROM clicks RETURNING title\"}')", qr/ERROR:  22023: calibration must be one SELECT/, 'one that writes');
refused("SELECT ds_quantize_model('shop', 'q', 'int8', '{\"calibration\": \"SELECT title FROM clicks LIMIT 0\"}')", qr/ERROR:  P0002: the calibration query returned no texts/, 'one that gives nothing');
refused("SELECT ds_quantize_model('shop', 'q', 'int8')", qr/ERROR:  42501: permission denied for model "shop"/, 'someone else\'s model to quantize', 'writer');
is(sql("SELECT count(*) FROM ds_model WHERE name = 'q'"), '0', 'of which nothing is left');

# --- rights and places ---
chmod 0777, $models;
refused("SELECT ds_export_model('bert', '$models/other')", qr/ERROR:  42501: permission denied for model "bert"/, 'someone else\'s model', 'writer');
sql("SELECT ds_grant_model('bert', 'public')");
refused("SELECT ds_export_model('bert', '$models/other')", qr/ERROR:  42501: must be owner of model "bert"/, 'to use a model is not to have it', 'writer');
refused("SELECT * FROM ds_export_files('bert')", qr/ERROR:  42501: must be owner of model "bert"/, 'nor to send it', 'writer');
sql("SELECT ds_upload('up', file, \"offset\", data) FROM ds_export_files('bert'); UPDATE ds_upload SET owner = 'someone'");
sql("SET ROLE someone; SELECT ds_import_model('mine', upload => 'up')");
refused("SELECT ds_export_model('mine', '$models/other')", qr/ERROR:  42501: permission denied to write files of the server/, 'without pg_write_server_files', 'someone');
is(sql("SET ROLE someone; SELECT count(DISTINCT file) FROM ds_export_files('mine')"), sql("SELECT count(DISTINCT file) FROM ds_export_files('bert')"), 'the client\'s form needs no such right');
refused("SELECT ds_export_model('bert', '$models/bert')", qr/ERROR:  58P02: "[^"]*" already exists/, 'a folder that is there');
refused("SELECT ds_export_model('bert', '$models/bert/config.json')", qr/ERROR:  58P02: "[^"]*" already exists/, 'a file that is there');
refused("SELECT ds_export_model('bert', '$models/no/where')", qr/ERROR:  58P01: could not create directory/, 'in a folder that is not there');
refused("SELECT ds_export_model('bert', 'somewhere')", qr/ERROR:  22023: path "somewhere" is not absolute/, 'no absolute path');
refused("SELECT ds_export_model('bert', '$models/x', 'pickle')", qr/ERROR:  22023: unknown format "pickle"\nHINT:  Valid formats are: huggingface, onnx, saved_model, tensorflow, tflite\./, 'no such format');
refused("SELECT ds_export_model('bert', '$models/x', options => '{\"sides\": 1}')", qr/ERROR:  22023: .*sides/, 'no such option');
refused("SELECT ds_export_model('nothing', '$models/x')", qr/ERROR:  42704: model "nothing" does not exist/, 'no such model');

# --- versions, and one side of two ---
sql(qq{SELECT ds_import_model('bert', '$models/in/static', '{"replace": true}'); SELECT count(*) FROM ds_export_model('bert\@1', '$models/first')});
is(system("diff -r '$models/bert' '$models/first' >&2"), 0, 'a version by its number');

# --- an error on the way: a damaged tensor, a cancelled statement ---
sql(q{UPDATE ds_tensor t SET data = substr(data, 1, octet_length(data) - 4) FROM ds_model m WHERE m.id = t.model AND m.name = 'static back' AND t.name = 'token.weight'});
refused("SELECT ds_export_model('static back', '$models/damaged')", qr/ERROR:  XX001: .*shorter than its shape says/, 'a damaged tensor');
SKIP:
{
	# 160 MB
	my ($rows, $dims) = (200_000, 200);
	mkdir "$models/in/large";
	Model::spew("$models/in/large/tokenizer.json", Model::tokenizer(0));
	Model::spew("$models/in/large/config.json", "{\"model_type\": \"model2vec\", \"architectures\": [\"StaticModel\"], \"hidden_dim\": $dims, \"normalize\": true}");
	my $header = sprintf '{"embeddings":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,%d]}}', $rows, $dims, $rows * $dims * 4;
	Model::spew("$models/in/large/model.safetensors", pack('Q<', length $header) . $header);
	truncate "$models/in/large/model.safetensors", 8 + length($header) + $rows * $dims * 4;
	sql("SELECT ds_import_model('large', '$models/in/large')");
	refused("SET statement_timeout = 60; SELECT ds_export_model('large', '$models/large')", qr/ERROR:  57014/, 'a statement that is cancelled');
	# the peak of a process counts the shared buffers that it has touched; so let there be few
	$node->append_conf('postgresql.conf', 'shared_buffers = 2MB');
	$node->restart;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe("SELECT count(*) FROM ds_export_model('cross', '$models/warm'); SELECT ds_encode('red', 'large') <=> ds_encode('red', 'large');");
	my $pid = $session->query_safe('SELECT pg_backend_pid();');
	skip 'needs /proc', 4 unless -r "/proc/$pid/status";
	my $peak = sub { return PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /VmHWM:\s+(\d+) kB/ ? $1 : 0 };
	my $before = $peak->();
	$session->query_safe("SELECT count(*) FROM ds_export_model('large', '$models/large');");
	cmp_ok($peak->() - $before, '<', 32 * 1024, 'memory of the export of a large model');
	note("from $before to " . $peak->() . ' kB');
	cmp_ok(-s "$models/large/model.safetensors", '>', $rows * $dims * 4, 'all of which is there');
	$session->query_safe("SELECT count(*) FROM ds_export_model('large', '$models/large saved', 'saved_model');");
	cmp_ok($peak->() - $before, '<', 32 * 1024, 'and of a large SavedModel');
	is(-s "$models/large saved/variables/variables.data-00000-of-00001", $rows * $dims * 4, 'all of which is there, too');
	$session->quit;
}
$node->stop;
done_testing();
