# Trained models from files: by a folder of the server, uploads, large objects; and what is refused.
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

my $node = Shop::node('import');
my $models = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }

# the error of a statement
sub error
{
	my ($sql, $role) = @_;
	my (undef, undef, $err) = $node->psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
	$err =~ s/^psql:\S+ //mg;
	return $err;
}

# nothing is left of an import that failed
my $tables = q{SELECT (SELECT count(*) FROM ds_model), (SELECT count(*) FROM ds_model_version), (SELECT count(*) FROM ds_tensor)};
sub files { opendir my $dir, $node->data_dir . '/deepsearch' or return 0; return scalar grep { /^pgsql_tmp/ } readdir $dir }
sub refused
{
	my ($sql, $error, $what, $role) = @_;
	my ($before, $files) = (sql($tables), files());
	like(error($sql, $role), $error, $what);
	is(sql($tables) . ' ' . files(), "$before $files", "$what: nothing is left");
	return;
}

sql('CREATE EXTENSION deepsearch; CREATE ROLE someone LOGIN; CREATE ROLE reader LOGIN IN ROLE pg_read_server_files');
my @rows = Model::static("$models/static", 8);
Model::bert("$models/bert", sentence => 1, prompts => 1);
Model::bert("$models/cross", classes => 1);

# --- static: numbers that can be computed here ---
sub mean
{
	my @ids = @_;
	my @sum = (0) x 8;
	for my $id (@ids) { $sum[$_] += $rows[$id][$_] for 0 .. 7 }
	my $length = 0;
	$length += $_ * $_ for @sum;
	return map { $length > 0 ? $_ / sqrt $length : 0 } @sum;
}
sub close_to
{
	my ($got, $expected, $what) = @_;
	my @got = $got =~ /[-+\d.e]+/g;
	my $worst = @got == @$expected ? 0 : 9;
	for my $i (0 .. $#$expected) { my $d = abs(($got[$i] // 9) - $expected->[$i]); $worst = $d if $d > $worst }
	cmp_ok($worst, '<', 1e-6, $what) or diag("got @got\nnot @$expected");
	return;
}
my ($status, $out, $err) = $node->psql('postgres', "SELECT ds_import_model('static', '$models/static')");
like($err, qr/NOTICE:  model "static" has version 1: \S+, 136 parameters, 8 dimensions/, 'an import says what it has found');
close_to(sql("SELECT ds_encode('Red dresses', 'static')"), [ mean(4, 6, 12) ], 'a static model');
close_to(sql("SELECT ds_encode('red unheard dress', 'static')"), [ mean(4, 6) ], 'unknown words do not count');
close_to(sql("SELECT ds_encode('', 'static')"), [ (0) x 8 ], 'the empty text');
is(sql("SELECT ds_encode(NULL, 'static') IS NULL"), 't', 'NULL');
is(sql("SELECT string_agg(id || ':' || token, ' ') FROM ds_tokenize('Red dresses', 'static')"), '4:red 6:dress 12:##es', 'its tokens');
is(sql("SELECT family, size > 8 * 17 * 4 FROM ds_models"), 'model2vec|t', 'ds_models: family, size');
is(sql("SELECT name, dims, \"precision\", parameters, owner, version, trained_by, trained_on FROM ds_models"),
	'static|8|f32|136|' . sql('SELECT current_user') . '|1|' . sql('SELECT current_user') . "|imported from folder \"$models/static\"", 'ds_models');
is(sql("SELECT ds_model_config('static') -> 'encoder' ->> 'hidden'"), '8', 'its config');
is(files(), 1, 'it has been laid out');

# --- a transformer, and the three ways to import it ---
sql("SELECT ds_import_model('bert', '$models/bert')");
is(sql("SELECT string_agg(token, ' ') FROM ds_tokenize('red dresses and blue shirts', 'bert', 'document')"),
	'[CLS] of red dress ##es and blue shirt ##s [SEP]', 'tokens, with the prompt of a side');
is(sql("SELECT string_agg(token, ' ') FROM ds_tokenize(repeat('red blue ', 20), 'bert')"),
	'[CLS] ' . join(' ', 'red', ('red', 'blue') x 5)  =~ s/ blue$//r . ' [SEP]', 'cut as the model says')
  or diag(sql("SELECT count(*) FROM ds_tokenize(repeat('red blue ', 20), 'bert')"));
my $encode = sub { return sql(join ' UNION ALL ', map { "SELECT ds_encode('red dresses and blue shirts', '$_[0]', '$_')::text" } qw(query document)) };
my $answer = $encode->('bert');
isnt((split /\n/, $answer)[0], (split /\n/, $answer)[1], 'prompts make a difference');
is(sql("SELECT ds_dims(ds_encode('red', 'bert')), round(ds_norm(ds_encode('red', 'bert'))::numeric, 5)"), '16|1.00000', 'its embedding');
is(sql("SELECT ds_encode(ARRAY['red', NULL, 'blue dress', ''], 'bert') = ARRAY[ds_encode('red', 'bert'), NULL, ds_encode('blue dress', 'bert'), ds_encode('', 'bert')]"),
	't', 'a text alone and in company');
my $weights = q{SELECT md5(string_agg(t.name || t.chunk || t.dtype || t.shape::text || md5(t.data), ',' ORDER BY t.name, t.chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = };
my $sum = sql("$weights 'bert'");

my @names = qw(config.json tokenizer.json model.safetensors modules.json 1_Pooling/config.json sentence_bert_config.json config_sentence_transformers.json);
for my $name (reverse @names)
{
	my $bytes = PostgreSQL::Test::Utils::slurp_file("$models/bert/$name");
	my @pieces;
	for (my $at = 0; $at < length $bytes; $at += 5000) { unshift @pieces, "SELECT ds_upload('up', '$name', $at, decode('" . unpack('H*', substr $bytes, $at, 5000) . "', 'hex'))" }
	sql(join ';', "SET ROLE someone", @pieces, $pieces[0]);
}
is(sql('SELECT count(*), sum(size) FROM ds_uploads'), @names . '|' . (eval { my $n = 0; $n += -s "$models/bert/$_" for @names; $n }), 'ds_uploads');
is(sql("SET ROLE reader; SELECT count(*) FROM ds_uploads"), '0', 'shows one\'s own');
sql("SET ROLE someone; SELECT ds_import_model('uploaded', upload => 'up')");
is(sql("$weights 'uploaded'"), $sum, 'an upload gives the same weights');
is($encode->('uploaded'), $answer, 'and the same embeddings');
is(sql("SELECT owner, trained_on FROM ds_models WHERE name = 'uploaded'"), 'someone|imported from upload "up"', 'owned by who imports');

my $objects = join ', ', map { sprintf '"%s": %s', $_, sql("SELECT lo_from_bytea(0, pg_read_binary_file('$models/bert/$_'))") } @names;
sql("SELECT ds_import_model('objects', large_objects => '{$objects}')");
is(sql("$weights 'objects'"), $sum, 'so do large objects');
is($encode->('objects'), $answer, 'and the same embeddings');
refused("SELECT ds_import_model('x', large_objects => '{$objects}')", qr/permission denied for large object/, 'someone else\'s large objects', 'someone');
refused(q{SELECT ds_import_model('x', large_objects => '{"config.json": 1}')}, qr/large object 1 does not exist/, 'no large object');
refused(q{SELECT ds_import_model('x', large_objects => '{"config.json": "1"}')}, qr/"config.json" must be the number of a large object/, 'not a number');
refused(q{SELECT ds_import_model('x', large_objects => '[1]')}, qr/must be an object of file names and numbers/, 'not an object');

# --- options ---
sql(qq{SELECT ds_import_model('options', '$models/bert', '{"precision": "bf16", "max_tokens": 5, "query_prompt": "", "document_prompt": "blue "}')});
is(sql("SELECT string_agg(token, ' ') FROM ds_tokenize('red red red red red red', 'options', 'document')"), '[CLS] blue red red [SEP]', 'shorter texts, another prompt');
is(sql("SELECT \"precision\" FROM ds_models WHERE name = 'options'"), 'bf16', 'another precision');
cmp_ok(sql(q{SELECT ds_encode('red', 'options') <=> ds_encode('', 'options')}), '<', 2, 'encodes');
cmp_ok(sql(qq{SELECT ds_import_model('o8', '$models/bert', '{"precision": "int8"}'); SELECT ds_encode('dress', 'o8') <=> ds_encode('dress', 'bert')}) =~ s/^\s*//r, '<', 0.01, 'int8 is near');
refused("SELECT ds_import_model('x', '$models/bert', '{\"precision\": \"f64\"}')", qr/option "precision" must be "f32", "bf16" or "int8"/, 'no such precision');
refused("SELECT ds_import_model('x', '$models/bert', '{\"prompt\": \"\"}')", qr/unknown option "prompt"/, 'no such option');
refused("SELECT ds_import_model('x', '$models/bert', '{\"max_tokens\": 0}')", qr/"max_tokens" must be an integer from 1 to/, 'max_tokens of 0');
refused("SELECT ds_import_model('x', '$models/bert', '[]')", qr/"options" must be an object/, 'options that are none');
refused("SELECT ds_import_model('x')", qr/imported from one place/, 'nowhere to import from');
refused("SELECT ds_import_model('x', '$models/bert', upload => 'up')", qr/imported from one place/, 'two places');
refused("SELECT ds_import_model(NULL, '$models/bert')", qr/name must not be NULL/, 'no name');
refused("SELECT ds_import_model('', '$models/bert')", qr/the name of a model must have from 1 to 200 bytes/, 'an empty name');

# lower-case before a tokenizer that does not do it
Model::bert("$models/lower", sentence => 1);
for my $lower ('false', 'true')
{
	Model::spew("$models/lower/sentence_bert_config.json", "{\"max_seq_length\": 12, \"do_lower_case\": $lower}");
	Model::spew("$models/lower/tokenizer.json", Model::tokenizer(1) =~ s/"lowercase":true/"lowercase":false/r);
	is(sql("SELECT ds_import_model('lower', '$models/lower', '{\"replace\": true}'); SELECT string_agg(token, ' ') FROM ds_tokenize('RED Dress', 'lower')") =~ s/^\s*//r,
		$lower eq 'true' ? '[CLS] red dress [SEP]' : '[CLS] [UNK] [UNK] [SEP]', "do_lower_case $lower");
}

# the config of a version is changed by hand, as a restored dump could have it: no process takes the shapes of one from the other
Model::static("$models/hand", 8);
sql("SELECT ds_import_model('hand', '$models/hand')");
my $hand = sub { return "UPDATE ds_model_version SET config = jsonb_set(config, '{encoder,$_[0]}', '$_[1]') WHERE model = (SELECT id FROM ds_model WHERE name = 'hand')" };
is(sql("SELECT ds_dims(ds_encode('red', 'hand'))"), '8', 'a model');
sql($hand->('modules', '[{"kind": "slice", "in": 8, "out": 4}]'));
is(sql("SELECT ds_dims(ds_encode('red', 'hand')), ds_norm(ds_encode('red', 'hand')) > 0"), '4|t', 'whose config was changed by hand');
sql($hand->('hidden', '4') . ';' . $hand->('modules', '[]'));
like(error("SELECT ds_encode('red', 'hand')"), qr/tensor "token.weight" has 136 values instead of 68/, 'to what its tensors are not');
sql($hand->('hidden', '8') . ';' . $hand->('vocabulary', '5'));
like(error("SELECT ds_encode('red', 'hand')"), qr/tensor "token.row" is missing/, 'or lack');
sql($hand->('static_rows', '5'));
like(error("SELECT ds_encode('red', 'hand')"), qr/tensor "token.weight" has 136 values instead of 40/, 'or are too long for');
sql("SELECT ds_drop_model('hand')");

# --- rights and places ---
refused("SELECT ds_import_model('x', '$models/bert')", qr/permission denied to read files of the server/, 'without pg_read_server_files', 'someone');
refused("SELECT ds_import_model('x', upload => 'up')", qr/must be owner of upload "up"/, 'someone else\'s upload', 'reader');
refused("SELECT ds_import_model('x', upload => 'nothing')", qr/upload "nothing" does not exist/, 'no upload');
refused("SELECT ds_import_model('x', '$models/nothing')", qr/could not open directory "[^"]*nothing": No such file or directory/, 'no folder');
refused("SELECT ds_import_model('x', '$models/bert/config.json')", qr{there is no model.safetensors}, 'a file that is no network over pictures');
refused("SELECT ds_import_model('x', 'bert')", qr/path "bert" is not absolute/, 'not an absolute path');
chmod 0755, $models;
is(error("SELECT ds_import_model('mine', '$models/bert')", 'reader') =~ /ERROR/, '', 'with pg_read_server_files');
refused("SELECT ds_encode('red', 'mine')", qr/permission denied for model "mine"/, 'the model is its owner\'s', 'someone');

# --- a new version ---
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $one = "SELECT ds_encode('red dresses and blue shirts', 'bert')::text;";
is($session->query_safe($one), (split /\n/, $answer)[0], 'a session with the first version');
refused("SELECT ds_import_model('bert', '$models/static')", qr/model "bert" already exists/, 'a name that is taken');
refused("SELECT ds_import_model('bert', '$models/static', '{\"replace\": true}')", qr/must be owner of model "bert"/, 'someone else\'s model', 'reader');
sql("SELECT ds_import_model('bert', '$models/static', '{\"replace\": true, \"keep_versions\": 1}')");
is($session->query_safe($one), sql("SELECT ds_encode('red dresses and blue shirts', 'static')"), 'sees the second at its next statement');
is(sql("SELECT version, dims FROM ds_models WHERE name = 'bert'"), '2|8', 'which the view shows');
is(sql("SELECT count(DISTINCT t.version) FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = 'bert'"), '1', 'the first is gone');
sql("SELECT ds_import_model('bert', '$models/bert', '{\"replace\": true}')");
is($encode->('bert'), $answer, 'and back');
sql("CREATE TABLE t (id int PRIMARY KEY, a text, e embedding(16)); SELECT ds_create_model('trained')");
refused("SELECT ds_import_model('trained', '$models/static', '{\"replace\": true}')", qr/model "trained" was not imported/, 'a model that is trained here');
$session->query_safe("SET client_min_messages = warning; BEGIN; SELECT ds_import_model('back', '$models/static')");
like($session->query_safe("SELECT ds_encode('red', 'back')::text;"), qr/^\[/, 'usable before the commit');
$session->query_safe('ROLLBACK');
refused("SELECT ds_encode('red', 'back')", qr/model "back" does not exist/, 'and gone with a rollback');

# --- tables and triggers ---
sql(q{INSERT INTO t SELECT i, CASE WHEN i % 50 > 0 THEN (ARRAY['red', 'blue', 'winter'])[i % 3 + 1] || ' ' || (ARRAY['dress', 'shoe'])[i % 2 + 1] END FROM generate_series(1, 3000) i});
sql(q{CALL ds_encode_table('t', 'a', 'e', 'bert')});
my $wrong = q{SELECT count(*) FROM t WHERE e IS DISTINCT FROM ds_encode(a, 'bert', 'document')};
is(sql($wrong), '0', 'ds_encode_table');
sql(q{CALL ds_encode_table('t', 'a', 'e', 'bert', options => '{"all": true, "batch_size": 7}')});
is(sql($wrong), '0', 'again, in small steps');
# a worker may come late, when nothing is left for it
my $helped = 0;
for (my $try = 0; $try < 20 && !$helped; $try++)
{
	$helped = sql(q{UPDATE t SET e = NULL; CALL ds_encode_table('t', repeat('a || '' '' || ', 5) || 'a', 'e', 'bert', options => '{"workers": 3}');
		SELECT ds_encode_count() < (SELECT count(e) FROM t)}) eq 't';
}
ok($helped, 'workers take their part');
is(sql(q{SELECT count(*) FROM t WHERE e IS DISTINCT FROM ds_encode(a || repeat(' ' || a, 5), 'bert', 'document')}), '0', 'of which nothing is missing');
sql(q{UPDATE t SET e = NULL; CALL ds_encode_table('t', 'a', 'e', 'bert', options => '{"workers": 3}')});
is(sql($wrong), '0', 'and encode the same');
sql(q{BEGIN; UPDATE t SET e = NULL; SELECT ds_import_model('soon', '} . "$models/bert" . q{'); CALL ds_encode_table('t', 'a', 'e', 'soon', options => '{"workers": 2}'); COMMIT; SELECT ds_drop_model('soon')});
is(sql($wrong), '0', 'with a model that is not committed, too');
sql(q{CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('a', 'e', 'bert');
	INSERT INTO t VALUES (0, 'shirts for summer'); UPDATE t SET a = a || ' and shoes' WHERE id < 10});
is(sql($wrong), '0', 'ds_encode_trigger');

# a table whose rows take their time
sql(q{CREATE TABLE slow (id int PRIMARY KEY, a text, e embedding); INSERT INTO slow SELECT i, 'red dress' FROM generate_series(1, 500) i; ANALYZE slow;
	CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.01); RETURN new; END$$;
	CREATE TRIGGER slowly BEFORE UPDATE ON slow FOR EACH ROW EXECUTE FUNCTION slowly()});
(undef, undef, $err) = $node->psql('postgres', q{CALL ds_encode_table('slow', 'a', 'e', 'bert', options => '{"all": true, "batch_size": 50}')});
like($err, qr{NOTICE:  encoded [1-4]\d+ rows \(\d\d %\), \d+ rows/s, about \d+ s left\n}, 'how fast it is, and how long it will take');
like($err, qr{NOTICE:  encoded 500 rows in \d+\.\d s \(\d+ rows/s\)}, 'and took');

# --- cross-encoders ---
sql("SELECT ds_import_model('cross', '$models/cross')");
my $score = sql("SELECT ds_score('red dress', 'dress for summer', 'cross')");
like($score, qr/^-?[\d.e-]+$/, 'a score');
isnt(sql("SELECT ds_score('dress for summer', 'red dress', 'cross')"), $score, 'is of a pair in its order');
is(sql("SELECT ds_score(NULL, 'a', 'cross') IS NULL, ds_score('a', NULL, 'cross') IS NULL"), 't|t', 'NULL');
my $documents = q{ARRAY['dress for summer', NULL, 'shoe', 'winter shirt', '']};
is(sql("SELECT count(*), bool_and(score = ds_score('red dress', document, 'cross')), bool_and(document = ($documents)[position]),
		string_agg(position::text, ' ' ORDER BY n) = string_agg(position::text, ' ' ORDER BY score DESC) FROM ds_rerank('red dress', $documents, 'cross') WITH ORDINALITY r (position, document, score, n)"),
	'4|t|t|t', 'ds_rerank gives the same scores, in order');
is(sql("SELECT (SELECT count(*) FROM ds_rerank('a', '{}', 'cross')) + (SELECT count(*) FROM ds_rerank(NULL, '{a}', 'cross')) + (SELECT count(*) FROM ds_rerank('a', NULL, 'cross'))"), '0', 'of nothing: nothing');
sql('CREATE INDEX ON t USING deepsearch (e)');
my $best = q{SELECT id, a, ds_score('red dress', a, 'cross') AS score
	FROM (SELECT id, a FROM t ORDER BY e <=> ds_encode('red dress', 'bert') LIMIT 100) AS candidates
	ORDER BY score DESC LIMIT 10};
like(sql("EXPLAIN (COSTS OFF) $best"), qr/Limit.*Sort.*Limit.*Index Scan using t_e_idx on t\n\s+Order By: /s, 'a hundred by the index');
is(sql("SELECT count(*), count(DISTINCT id), min(score) >= (SELECT max(s) FROM (SELECT ds_score('red dress', a, 'cross') AS s
		FROM (SELECT id, a FROM t ORDER BY e <=> ds_encode('red dress', 'bert') LIMIT 100) AS c ORDER BY s DESC OFFSET 10) AS rest) FROM ($best) AS best"),
	'10|10|t', 'and the ten best of them by the cross-encoder');
is(sql("SELECT count(*), bool_and(score >= next) FROM (SELECT score, coalesce(lead(score) OVER (ORDER BY score DESC), score) AS next FROM (SELECT id, a, ds_score('red dress', a, 'cross') AS score
		FROM (SELECT id, a FROM t WHERE a IS NOT NULL ORDER BY e <=> ds_encode('red dress', 'bert') LIMIT 100) AS candidates ORDER BY score DESC LIMIT 10) AS best) AS x"),
	'10|t', 'a hundred by the index, ten by the cross-encoder');
refused("SELECT ds_encode('red', 'cross')", qr/model "cross" is a cross-encoder, which gives no embeddings/, 'encoding by a cross-encoder');
refused("SELECT ds_score('red', 'dress', 'bert')", qr/model "bert" gives embeddings, not scores/, 'scoring by an encoder');
refused("SELECT ds_score('red', 'dress', 'nothing')", qr/model "nothing" does not exist/, 'scoring by no model');
Model::bert("$models/classes", classes => 3);
sql("SELECT ds_import_model('classes', '$models/classes')");
refused("SELECT ds_score('red', 'dress', 'classes')", qr/gives 3 scores for a pair of texts instead of one/, 'three classes');

# --- damaged files ---
sub broken
{
	my ($what, $error, $change, %options) = @_;
	my $folder = "$models/broken";
	system('rm', '-rf', $folder) == 0 or die;
	my @tensors = Model::bert($folder, sentence => 1, %options);
	$change->($folder, \@tensors);
	refused("SELECT ds_import_model('x', '$folder')", $error, $what);
	return;
}
my $file = sub { my ($name, $edit) = @_; return sub { my $path = "$_[0]/$name"; local $_ = PostgreSQL::Test::Utils::slurp_file($path); $edit->(); Model::spew($path, $_) } };
my $tensors = sub { my ($edit) = @_; return sub { my ($folder, $list) = @_; $edit->($list); Model::safetensors("$folder/model.safetensors", @$list) } };
my $query = 'encoder.layer.1.attention.self.query.weight';
broken('cut short', qr/ERROR:  .*tensor "[\w.]+"/, $file->('model.safetensors', sub { $_ = substr $_, 0, length($_) - 1000 }));
broken('cut in the header', qr/ERROR:  .*model\.safetensors/, $file->('model.safetensors', sub { $_ = substr $_, 0, 50 }));
broken('a tensor is missing', qr/ERROR:  .*$query/, $tensors->(sub { @{$_[0]} = grep { $_->[0] ne $query } @{$_[0]} }));
broken('another shape', qr/ERROR:  .*$query/, $tensors->(sub { $_->[0] eq $query and $_->[2] = [ 8, 32 ] for @{$_[0]} }));
broken('a number that is none', qr/ERROR:  .*(query|not finite)/, $tensors->(sub { $_->[0] eq $query and substr($_->[3], 100, 4) = pack 'L<', 0x7fc00000 for @{$_[0]} }));
broken('a type that is no number', qr{ERROR:  .*attention[.\w]*query[.]weight}, $tensors->(sub { $_->[0] eq $query and $_->[1] = 'U32' for @{$_[0]} }));
# a header of which nothing but a few tensors is there
my $header_of = sub { my ($header, $bytes) = @_; return sub { Model::spew("$_[0]/model.safetensors", pack('Q<', length $header) . $header . "\0" x $bytes) } };
broken('overlapping offsets', qr/ERROR:  model\.safetensors: tensors "a" and "b" overlap/,
	$header_of->('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', 12));
broken('offsets out of range', qr/ERROR:  .*tensor "b"/,
	$header_of->('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1000,1008]}}', 16));
broken('offsets that run backwards', qr/ERROR:  .*tensor "a"/, $header_of->('{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}', 8));
broken('a tensor that is there twice', qr/ERROR:  .*tensor "a" is there twice/,
	$header_of->('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}', 16));
broken('a shape beyond any memory', qr/ERROR:  .*tensor "a"/, $header_of->('{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}', 8));
broken('a header beyond any memory', qr/ERROR:  .*model\.safetensors/, sub { Model::spew("$_[0]/model.safetensors", pack('Q<', 2**62) . '{}') });
broken('an array of a million arrays', qr/ERROR:  .*config\.json/, $file->('config.json', sub { $_ = '{"a":[' . '[],' x 1_000_000 . '[]],"model_type":"none"}' }));
SKIP:
{
	my $cut = ($ENV{DS_SHARED_DATA} // '../shared/data') . '/models/minilm-truncated';
	skip "$cut is absent", 2 unless -d $cut;
	# the server's user may not enter the folder
	mkdir "$models/cut";
	system('cp', '-LrT', $cut, "$models/cut") == 0 or die;
	system('chmod', '-R', 'a+rX', "$models/cut");
	refused("SELECT ds_import_model('x', '$models/cut')", qr/ERROR:  .*model\.safetensors.*tensor "[\w.]+"/, 'a download that was cut short');
}
broken('config.json is cut', qr/ERROR:  .*config\.json/, $file->('config.json', sub { $_ = substr $_, 0, 60 }));
broken('no config.json', qr/ERROR:  .*config\.json/, sub { unlink "$_[0]/config.json" });
broken('no weights', qr/ERROR:  .*safetensors/, sub { unlink "$_[0]/model.safetensors" });
broken('no tokenizer', qr/ERROR:  .*tokenizer/, sub { unlink "$_[0]/tokenizer.json" });
broken('a tokenizer that is not supported', qr/ERROR:  .*tokenizer\.json.*Magic|ERROR:  .*Magic/s, $file->('tokenizer.json', sub { s/"BertPreTokenizer"/"Magic"/ }));
broken('a family that is not supported', qr/ERROR:  .*gpt9/, $file->('config.json', sub { s/"model_type": "bert"/"model_type": "gpt9"/; s/BertModel/Gpt9Model/ }));
broken('a pickle', qr/ERROR:  .*pickle|ERROR:  .*safetensors/s, sub { unlink "$_[0]/model.safetensors"; Model::spew("$_[0]/pytorch_model.bin", "PK\x03\x04" . "\0" x 100) });
broken('a cycle of links', qr/ERROR:  could not stat file "[^"]*config\.json": Too many levels of symbolic links/, sub { unlink "$_[0]/config.json"; symlink 'config.json', "$_[0]/config.json" or die });
broken('a pipe', qr/ERROR:  "[^"]*config\.json" is not a plain file/, sub { unlink "$_[0]/config.json"; system('mkfifo', "$_[0]/config.json") == 0 or die });
# what is used as an index when a text is encoded
for my $case ([ 'F32', pack('f<*', (0) x 16, 16), '16' ], [ 'F32', pack('f<*', -1, (0) x 16), '-1' ], [ 'F32', pack('f<*', 0.5, (0) x 16), '0.5' ],
	[ 'I32', pack('l<*', (0) x 15, 1_000_000, 0), '1e+06' ], [ 'I64', pack('q<*', -9_000_000_000, (0) x 16), '-9e+09' ])
{
	my ($type, $bytes, $value) = @$case;
	my $folder = "$models/mapped";
	Model::static($folder, 8);
	Model::safetensors("$folder/model.safetensors", [ 'embeddings', 'F32', [ 16, 8 ], Model::floats((0.5) x 128) ], [ 'mapping', $type, [ 17 ], $bytes ], [ 'weights', 'F32', [ 17 ], Model::floats((1) x 17) ]);
	refused("SELECT ds_import_model('x', '$folder')", qr/tensor "token.row" names row \Q$value\E of a table of 16/, "a token of row $value of 16");
}
# a tokenizer with more tokens than the weights have rows
Model::bert("$models/beyond");
Model::spew("$models/beyond/tokenizer.json", Model::tokenizer(1) =~ s/"##s":\d+/"##s":40/r);
sql("SELECT ds_import_model('beyond', '$models/beyond')");
is(sql("SELECT ds_dims(ds_encode('red shirt', 'beyond'))"), '16', 'a tokenizer that knows too much');
refused("SELECT ds_encode('red shirts', 'beyond')", qr/token 40 is not in a vocabulary of 17/, 'a token without a row');
sql("SELECT ds_drop_model('beyond')");
my $deep = '[' x 100_000;
broken('JSON of a great depth', qr/ERROR:  .*config\.json/, $file->('config.json', sub { $_ = $deep }));
broken('absurd sizes', qr/ERROR:  /, $file->('config.json', sub { s/"hidden_size": 16/"hidden_size": 1600000000/ }));

# --- uploads ---
my $up = sub { return "SELECT ds_upload('bad', '$_[0]', $_[1], '\\x$_[2]')" };
refused($up->($_, 0, '00'), qr/is not the name of a file in a model's folder/, "file name '$_'", 'someone')
  for '', '.', '..', '../x', 'a/../b', '/etc/passwd', 'a//b', 'a/', 'a/b/c/d/e', 'a\\\\b', 'x' x 300;
refused("SELECT ds_upload('', 'config.json', 0, '')", qr/the name of an upload must have from 1 to 200 bytes/, 'an upload without a name', 'someone');
refused($up->('a', -1, '00'), qr/offset -1 is outside of a file/, 'before the beginning', 'someone');
refused($up->('a', '9223372036854775807', '00'), qr/is outside of a file/, 'beyond any end', 'someone');
sql('SET ROLE someone; ' . $up->('config.json', 0, '7b7d') . ';' . $up->('config.json', 4, '2020'));
refused($up->('config.json', $_->[0], $_->[1]), qr/overlap a piece that begins elsewhere/, "bytes from $_->[0]", 'someone') for [ 1, '00' ], [ 3, '0000' ], [ 5, '00' ], [ 2, '000000' ], [ 0, '00' ];
refused($up->('config.json', 2, '2020'), qr/must be owner of upload "bad"/, 'into someone else\'s', 'reader');
refused("SELECT ds_drop_upload('bad')", qr/must be owner of upload "bad"/, 'dropping someone else\'s', 'reader');
refused("SELECT ds_import_model('x', upload => 'bad')", qr/file "config.json" of upload "bad" is not complete\nDETAIL:  Bytes 2 to 3 are missing/, 'a gap', 'someone');
sql('SET ROLE someone; ' . $up->('config.json', 2, '2020'));
refused("SELECT ds_import_model('x', upload => 'bad')", qr/ERROR:  .*(config\.json|safetensors)/, 'no model', 'someone');
is(sql("SELECT size FROM ds_uploads WHERE name = 'bad'"), '6', 'what has arrived');
sql("SET ROLE someone; SELECT ds_drop_upload('bad'); SELECT ds_drop_upload('up')");
is(sql('SELECT count(*) FROM ds_upload_piece'), '0', 'dropped');
refused("SELECT ds_drop_upload('bad')", qr/upload "bad" does not exist/, 'dropped twice', 'someone');

# --- a large model: 160 MB, of which no process holds more than a part ---
my ($rows, $dims) = (200_000, 200);
mkdir "$models/large";
Model::spew("$models/large/tokenizer.json", Model::tokenizer(0));
Model::spew("$models/large/config.json", "{\"model_type\": \"model2vec\", \"architectures\": [\"StaticModel\"], \"hidden_dim\": $dims, \"normalize\": true}");
my $header = sprintf '{"embeddings":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,%d]}}', $rows, $dims, $rows * $dims * 4;
Model::spew("$models/large/model.safetensors", pack('Q<', length $header) . $header);
truncate "$models/large/model.safetensors", 8 + length($header) + $rows * $dims * 4;
# the peak of a process counts the shared buffers that it has touched; so let there be few
$session->quit;
$node->append_conf('postgresql.conf', 'shared_buffers = 2MB');
$node->restart;
# what an import adds to the memory of a process that has done one before
sub import_memory
{
	my ($name, $folder) = @_;
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe("SET client_min_messages = warning; SELECT ds_import_model('warm', '$models/static', '{\"replace\": true}')");
	my $pid = $session->query_safe('SELECT pg_backend_pid();');
	my $peak = sub { return -r "/proc/$pid/status" && PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /VmHWM:\s+(\d+) kB/ ? $1 : 0 };
	my $before = $peak->();
	$session->query_safe("SELECT ds_import_model('$name', '$folder')");
	my $after = $peak->();
	SKIP:
	{
		skip 'needs /proc', 1 unless $before;
		cmp_ok($after - $before, '<', 64 * 1024, "memory of the import of \"$name\"");
		note("$name: from $before to $after kB");
	}
	return;
}
import_memory('large', "$models/large");
$session->quit;
is(sql("SELECT ds_dims(ds_encode('red', 'large'))"), $dims, 'and it encodes');
# cancelled in its midst
(my $tables_before, my $files_before) = (sql($tables), files());
my $run = Shop::start($node, "SET client_min_messages = warning; SET statement_timeout = 300; SELECT ds_import_model('large2', '$models/large')");
Shop::finish($run);
like($run->{err}, qr/statement timeout/, 'an import is cancelled');
is(sql($tables) . files(), $tables_before . $files_before, 'and leaves nothing');

# --- a tokenizer as large as those of many languages: 250,000 pieces ---
mkdir "$models/pieces";
my @pieces = map { my $mixed = $_ * 2654435761 % 2**32; sprintf '["%s%s",-%d.%016d]', $_ % 3 ? '' : '\u2581', join('', map { chr(97 + int($mixed / 26**$_) % 26) } 0 .. 5 + $mixed % 4), 8 + $mixed % 7, $mixed } 0 .. 249_998;
Model::spew("$models/pieces/tokenizer.json", '{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true},'
	. '"post_processor":null,"decoder":null,"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],' . join(',', @pieces) . ']}}');
cmp_ok(-s "$models/pieces/tokenizer.json", '>', 8_000_000, 'a large tokenizer');
Model::spew("$models/pieces/config.json", '{"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": 4, "normalize": true}');
Model::safetensors("$models/pieces/model.safetensors", [ 'embeddings', 'F32', [ 250_000, 4 ], pack('f<*', 1 .. 1_000_000) ]);
import_memory('pieces', "$models/pieces");
$session->quit;
is(sql("SELECT ds_dims(ds_encode('red', 'pieces'))"), '4', 'and it encodes');
$node->stop;
done_testing();
