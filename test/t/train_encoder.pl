# Transformers trained by SQL: imported encoders and cross-encoders learn, with the same bits for any
# number of workers, go on after a crash, keep what is frozen, and say what cannot be trained.
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

my $node = Shop::node('encoder');
my $models = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }
sub error
{
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");
	return $err;
}
sub weights
{
	my ($name) = @_;
	return sql("SELECT md5(string_agg(md5(t.name || chunk || data), '' ORDER BY t.name, chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = '$name'");
}

$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmax_parallel_workers = 8\nmax_parallel_maintenance_workers = 4");
$node->restart;
sql('CREATE EXTENSION deepsearch');
Model::bert("$models/bert", sentence => 1, prompts => 1);
Model::bert("$models/cross", classes => 1);
Model::bert("$models/three", classes => 3);
Model::static("$models/static", 8);

# queries name a garment by its season, titles by its color: nothing but training can tell that
sql(<<'SQL');
CREATE TABLE pairs AS
SELECT i AS id, q AS query, d AS title, bad
FROM (VALUES (1, 'summer dress', 'red dress', 'blue dress'), (2, 'winter dress', 'blue dress', 'red dress'), (3, 'summer shirt', 'red shirt', 'blue shirt'),
	(4, 'winter shirt', 'blue shirt', 'red shirt'), (5, 'summer shoes', 'red shoe', 'blue shoe'), (6, 'winter shoes', 'blue shoe', 'red shoe')) v (i, q, d, bad);
CREATE TABLE judged AS
SELECT p.id * 10 + d.id AS id, p.query, d.title, (p.title = d.title)::int AS label FROM pairs p, pairs d;
SQL
my $source = 'SELECT query, title, bad FROM pairs ORDER BY id';
my $scored = 'SELECT query, title, label FROM judged ORDER BY id';
my $fast = '"learning_rate": 0.003, "epochs": 80, "dropout": 0.05, "workers": 1';
(my $long = $fast) =~ s/"epochs": 80/"epochs": 600/;
my $right = sub {
	my ($model) = @_;
	return sql("SELECT count(*) FROM pairs p WHERE title = (SELECT d.title FROM pairs d ORDER BY ds_encode(d.title, '$model', 'document') <=> ds_encode(p.query, '$model') LIMIT 1)");
};

# --- an imported encoder ---
my $import = sub { my ($name, $folder) = @_; sql("SELECT ds_import_model('$name', '$models/$folder')") };
$import->('bert', 'bert');
$import->('static', 'static');
cmp_ok($right->('bert'), '<', 6, 'before training some queries find the wrong title');
my $before = weights('bert');
sql("CALL ds_train('bert', '$source', '{$fast}')");
is($right->('bert'), 6, 'behind it all find theirs');
isnt(weights('bert'), $before, 'with other weights');
is(sql("SELECT version, family, precision, dims, pairs FROM ds_models WHERE name = 'bert'"), '2|bert|f32|16|6', 'ds_models knows it');
is(sql("SELECT bool_and(l < f) FROM (SELECT first_value(loss) OVER w AS f, last_value(loss) OVER w AS l FROM ds_training_steps WINDOW w AS (ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) s"),
	't', 'the loss has fallen');
is(sql("SELECT count(*), sum(abs(1 - ds_norm(e)) ) < 1e-5 FROM (SELECT ds_encode(title, 'bert') AS e FROM pairs) s"), '6|t', 'its embeddings still have length one');
my $once = weights('bert');

# --- workers, and a second training behind the first one ---
my @same;
for my $workers (1, 2, 4)
{
	$import->("w$workers", 'bert');
	(my $options = $fast) =~ s/"workers": 1/"workers": $workers, "cache_texts": 3/;
	sql("CALL ds_train('w$workers', '$source', '{$options}')");
	push @same, weights("w$workers");
}
is(join(' ', @same), join(' ', ($same[0]) x 3), '1, 2 and 4 workers give the same weights');
$import->('again', 'bert');
sql("CALL ds_train('again', '$source', '{$fast}')");
is(weights('again'), $once, 'the same training gives the same weights');
sql("CALL ds_train('again', '$source', '{$fast, \"from_scratch\": true}')");
is($right->('again'), 6, 'from random weights it learns too');

# --- one tower alone ---
$import->('one', 'bert');
sql("CREATE TABLE kept AS SELECT id, ds_encode(title, 'one', 'document') AS emb FROM pairs");
sql("CALL ds_train('one', '$source', '{$long, \"freeze\": \"document\"}')");
is(sql("SELECT count(*) FROM pairs JOIN kept USING (id) WHERE ds_encode(title, 'one', 'document')::text = emb::text"), 6, 'a frozen side keeps its embeddings to the bit');
is(sql("SELECT count(*) FROM pairs p WHERE title = (SELECT d.title FROM pairs d JOIN kept USING (id) ORDER BY emb <=> ds_encode(p.query, 'one') LIMIT 1)"), 6, 'and the other one has learned');
is(sql("SELECT count(*) FROM pairs p WHERE ds_encode(query, 'one', 'document')::text = ds_encode(query, 'one')::text"), 0, 'there are two towers now');
$before = weights('one');
sql("CALL ds_train('one', '$source', '{$fast, \"freeze\": [\"document\", \"query.layer.0\", \"query.token\"]}')");
is(sql("SELECT count(*) FROM pairs JOIN kept USING (id) WHERE ds_encode(title, 'one', 'document')::text = emb::text"), 6, 'the next training keeps them too');
isnt(weights('one'), $before, 'and goes on with the query tower');
is(sql(<<'SQL'), 0, 'in which what is frozen stays');
SELECT count(*) FROM ds_tensor a JOIN ds_tensor b USING (model, name, chunk) JOIN ds_model m ON m.id = a.model
WHERE m.name = 'one' AND a.version = m.version AND b.version = m.version - 1 AND a.data <> b.data AND (a.name LIKE 'document.%' OR a.name LIKE 'query.layer.0.%' OR a.name LIKE 'query.token.%')
SQL

# --- cross-encoders ---
$import->('cross', 'cross');
sql("CALL ds_train('cross', '$scored', '{$long, \"batch_size\": 12}')");
is(sql("SELECT count(*) FROM judged WHERE (ds_score(query, title, 'cross') > 0.5) <> (label = 1)"), 0, 'a cross-encoder learns which pairs belong together');
is(sql("SELECT count(*) FROM pairs p WHERE title = (SELECT document FROM ds_rerank(p.query, (SELECT array_agg(title) FROM pairs), 'cross') ORDER BY score DESC LIMIT 1)"), 6, 'and puts them first');
$import->('listwise', 'cross');
sql("CALL ds_train('listwise', '$source', '{$long, \"loss\": \"list_cross_entropy\"}')");
is(sql("SELECT count(*) FROM pairs WHERE ds_score(query, title, 'listwise') > ds_score(query, bad, 'listwise')"), 6, 'so does one that ranks lists');
$import->('three', 'three');
sql("CALL ds_train('three', 'SELECT query, title, label FROM judged', '{$fast, \"batch_size\": 12}')");
is(sql("SELECT bool_and(l < f / 2) FROM (SELECT first_value(loss) OVER w AS f, last_value(loss) OVER w AS l FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_steps) WINDOW w AS (ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) s"),
	't', 'classes are learned');

# --- a cross-encoder teaches an encoder ---
$import->('pupil', 'bert');
sql("CALL ds_train('pupil', 'SELECT query, ARRAY[title, bad], ARRAY[ds_score(query, title, ''cross''), ds_score(query, bad, ''cross'')] AS label FROM pairs', '{$long, \"loss\": \"kl\"}')");
is(sql("SELECT count(*) FROM pairs WHERE (ds_encode(query, 'pupil') <=> ds_encode(title, 'pupil', 'document')) < (ds_encode(query, 'pupil') <=> ds_encode(bad, 'pupil', 'document'))"), 6, 'distilled');

# --- models that begin here ---
my $vocab = join "\n", @Model::WORDS;
my $new = sub { my ($name, $config) = @_; sql("SELECT ds_create_model('$name', jsonb_set('$config', '{tokenizer,vocab}', to_jsonb(\$v\$$vocab\$v\$::text)))") };
my $shape = '"layers": 2, "hidden": 16, "heads": 2, "intermediate": 32, "max_tokens": 16';
$new->('new', "{\"encoder\": {$shape, \"dims\": 8}, \"tokenizer\": {}, \"prompts\": {\"query\": \"for \"}}");
is(sql("SELECT version, family, precision, dims, trained_on FROM ds_models WHERE name = 'new'"), '1|bert|f32|8|random weights', 'a new encoder has random weights');
is(sql("SELECT string_agg(token, ' ') FROM ds_tokenize('summer dress', 'new', 'query')"), '[CLS] for summer dress [SEP]', 'the tokenizer and prompts that were given');
sql("CALL ds_train('new', '$source', '{$long}')");
is($right->('new'), 6, 'and learns');
$new->('judge', "{\"encoder\": {$shape, \"outputs\": 1}, \"tokenizer\": {}}");
sql("CALL ds_train('judge', '$scored', '{$long, \"batch_size\": 12}')");
is(sql("SELECT count(*) FROM judged WHERE (ds_score(query, title, 'judge') > 0.5) <> (label = 1)"), 0, 'so does a new cross-encoder');
sql(q{SELECT ds_create_model('same', '{"encoder": {"from": "bert"}}')});
is(sql("SELECT count(*) FROM pairs WHERE ds_encode(title, 'same')::text = ds_encode(title, 'bert')::text"), 6, 'one from another model has its weights');
sql(q{SELECT ds_create_model('short', '{"encoder": {"from": "bert", "layers": 1, "outputs": 2}}')});
is(sql(<<'SQL'), '0|t', 'a new head on some of its layers');
SELECT count(*) FILTER (WHERE s.data <> b.data), bool_or(s.name IS NULL AND b.name LIKE 'layer.1.%') FROM
(SELECT t.* FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = 'short' AND t.name NOT LIKE 'module.%') s
RIGHT JOIN (SELECT t.* FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = 'bert') b USING (name, chunk)
SQL
sql("CALL ds_train('short', 'SELECT query, title, label FROM judged', '{$fast, \"batch_size\": 12}')");
is(sql("SELECT version, dims FROM ds_models WHERE name = 'short'"), '2|2', 'is trained');
like(error(q{SELECT ds_create_model('x', '{"encoder": {}}')}), qr/22023: an encoder needs a tokenizer.*HINT/s, 'a tokenizer is needed');
like(error(q{SELECT ds_create_model('x', '{"encoder": {"from": "bert", "hidden": 32}}')}), qr/22023: the layers of an encoder "from" another model/, 'another width than its weights');
like(error(q{SELECT ds_create_model('x', '{"encoder": {"from": "bert", "layers": 3}}')}), qr/22023: model "bert" has 2 layers, not 3/, 'more layers than there are');
like(error(q{SELECT ds_create_model('x', '{"encoder": {"from": "nothing"}}')}), qr/42704/, 'no such model');
like(error(q{SELECT ds_create_model('x', '{"encoder": {"hidden": 10, "heads": 3}, "tokenizer": {"model": "bert"}}')}), qr/22023: 10 components cannot be cut into 3 heads/, 'heads that do not fit');
like(error(q{SELECT ds_create_model('x', '{"encoder": {"widht": 3}, "tokenizer": {"model": "bert"}}')}), qr/22023: unknown config key "encoder.widht"/, 'an unknown key');
like(error(q{SELECT ds_create_model('x', '{"encoder": {"from": "static"}}')}), qr/0A000/, 'a model without layers');
is(sql("SELECT count(*) FROM ds_models WHERE name = 'x'"), 0, 'nothing is left');

# --- kill -9 ---
$import->('undisturbed', 'bert');
my $options = "{$fast, \"epochs\": 4000, \"checkpoint_steps\": 50, \"evaluate\": \"SELECT avg(ds_encode(query, ''disturbed'') <=> ds_encode(title, ''disturbed'', ''document'')) FROM pairs\", \"goal\": \"min\", \"evaluate_steps\": 700}";
(my $calm = $options) =~ s/disturbed/undisturbed/g;
sql("CALL ds_train('undisturbed', '$source', '$calm')");
$import->('disturbed', 'bert');
my $run = Shop::start($node, "CALL ds_train('disturbed', '$source', '$options');");
$node->poll_query_until('postgres', q{SELECT max(checkpoint_step) >= 100 FROM ds_training_runs WHERE model = 'disturbed'}) or die;
kill 'KILL', sql(q{SELECT pid FROM ds_training_runs WHERE model = 'disturbed'});
Shop::finish($run);
$node->poll_query_until('postgres', 'SELECT true') or die;
(my $again = $options) =~ s/\{/{"resume": true, /;
my (undef, undef, $notices) = $node->psql('postgres', "CALL ds_train('disturbed', '$source', '$again')");
like($notices, qr/goes on behind step \d+ of 4000/, 'a killed training is taken up');
is(weights('disturbed'), weights('undisturbed'), 'and ends with the weights of one that was not killed');

# --- what cannot be ---
like(error("CALL ds_train('static', '$source')"), qr/0A000: model "static": a static encoder cannot be trained/, 'a static model is refused');
like(error("CALL ds_train('cross', '$source', '{\"loss\": \"cross_entropy\"}')"), qr/22023/, 'a loss of two towers for a cross-encoder');
like(error("CALL ds_train('cross', '$source')"), qr/22023: loss "binary" needs labels/, 'labels that are missing');
like(error("CALL ds_train('three', 'SELECT query, title, 3 AS label FROM pairs')"), qr/22\d\d\d|XX001/, 'a class that the model does not have');
like(error("CALL ds_train('bert', '$source', '{\"freeze\": \"shared.layer.7\"}')"), qr/22023: option "freeze": the model has no part "shared.layer.7"/, 'a part that is not there');
like(error("CALL ds_train('bert', '$source', '{\"feature_dropout\": 0.1}')"), qr/22023: option "feature_dropout" is for models of embedding bags/, 'an option for others');
like(error("CALL ds_train('bert', '$source', '{\"freeze\": \"query\", \"from_scratch\": true}')"), qr/22023: option "freeze" needs a version/, 'frozen random weights');
is(weights('bert'), $once, 'nothing has changed');
is(sql("SELECT count(*) FROM ds_training_runs WHERE state = 'running'"), 0, 'no run is left');

$node->stop;
done_testing();
