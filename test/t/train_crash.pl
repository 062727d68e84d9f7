# Crashes during training and encoding: nothing committed is lost, nothing half-made stays,
# and queries answer as before.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Shop;

my $node = Shop::node('shop');
sub sql { return $node->safe_psql('postgres', $_[0]) }

# Wait until a training has written steps down.
sub training_runs
{
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM ds_training_runs WHERE state = 'running' AND step > 10}) or die;
	return;
}

sub crash
{
	my ($run) = @_;
	$node->stop('immediate');
	isnt(Shop::finish($run), 0, 'the client noticed');
	$node->start;
	return;
}

sql('CREATE EXTENSION deepsearch');
Shop::tables($node);
sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");

# --- the first training: there is no model that encodes yet ---
my $run = Shop::start($node, "CALL ds_train('shop', '$Shop::SOURCE', '{\"epochs\": 1000000}');");
ok( $node->poll_query_until('postgres', 'SELECT count(*) > 100 FROM ds_training_steps'),
	'steps are visible to others while the training runs');
is(sql('SELECT state FROM ds_training_runs'), 'running', 'and so is the run');
my $seen = sql('SELECT max(step) FROM ds_training_steps');
crash($run);
cmp_ok(sql('SELECT max(step) FROM ds_training_steps'), '>=', $seen, 'the steps that were visible are still there');
is(sql('SELECT state FROM ds_training_runs'), 'crashed', 'the run shows that it was cut off');
is(sql('SELECT version IS NULL FROM ds_models'), 't', 'the model is as untrained as before');
is(sql('SELECT count(*) FROM ds_tensor'), '0', 'no weights');

# --- train, encode, and crash in the next training ---
sql("CALL ds_train('shop', '$Shop::SOURCE'); CALL ds_encode_table('products', 'title', 'emb')");
is(sql(q{SELECT string_agg(state, ' ' ORDER BY id) FROM ds_training_run}), 'crashed finished', 'a new training clears up');
my $answers = Shop::answers($node);
my $weights = Shop::weights($node);
$run = Shop::start($node, "CALL ds_train('shop', '$Shop::SOURCE', '{\"epochs\": 1000000}');");
training_runs();
crash($run);
is(Shop::answers($node), $answers, 'the same answers after a crash in training');
is(Shop::weights($node), $weights, 'the same weights');
is(sql('SELECT version FROM ds_models'), '1', 'the version of the last training that finished');
sql("CALL ds_train('shop', '$Shop::SOURCE')");
is(sql('SELECT version FROM ds_models'), '2', 'the model can be trained again');

# --- killed backend: the others go down with it, the data does not ---
$weights = Shop::weights($node);
$answers = Shop::answers($node);
$run = Shop::start($node, "CALL ds_train('shop', '$Shop::SOURCE', '{\"epochs\": 1000000}');");
training_runs();
my $pid = sql(q{SELECT pid FROM ds_training_runs WHERE state = 'running'});
kill 'KILL', $pid;
isnt(Shop::finish($run), 0, 'the client of the killed backend noticed');
ok($node->poll_query_until('postgres', 'SELECT pid IS DISTINCT FROM pg_backend_pid() FROM ds_training_run ORDER BY id DESC LIMIT 1'), 'the server is back');
is(Shop::answers($node), $answers, 'the same answers after kill -9');
is(Shop::weights($node), $weights, 'the same weights');

# --- terminated: only this session ends ---
$run = Shop::start($node, "CALL ds_train('shop', '$Shop::SOURCE', '{\"epochs\": 1000000}');");
training_runs();
sql(q{SELECT pg_terminate_backend(pid) FROM ds_training_runs WHERE state = 'running'});
isnt(Shop::finish($run), 0, 'terminated');
ok($node->poll_query_until('postgres', q{SELECT state = 'crashed' FROM ds_training_runs ORDER BY run DESC LIMIT 1}), 'its run shows it');

# --- encoding a table ---
sql(<<'SQL');
CREATE TABLE many (id int PRIMARY KEY, title text, emb embedding(24));
INSERT INTO many (id, title) SELECT i, '红色连衣裙 ' || i FROM generate_series(1, 20000) i;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.id % 50 = 0 THEN PERFORM pg_sleep(0.01); END IF; RETURN new; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON many FOR EACH ROW EXECUTE FUNCTION slow();
SQL
my $wrong = q{SELECT count(*) FROM many WHERE emb IS DISTINCT FROM ds_encode(title, 'shop', 'document')};
for my $options ('{"batch_size": 100}', '{"batch_size": 100, "all": true}')
{
	my $done = $options =~ /all/ ? q{SELECT coalesce(sum(rows), 0) FROM ds_encoded_column WHERE relation = 'many'::regclass} : 'SELECT count(emb) FROM many';
	sql(q{UPDATE many SET title = title || '蓝色外套'}) if $options =~ /all/;
	$run = Shop::start($node, "CALL ds_encode_table('many', 'title', 'emb', options => '$options');");
	$node->poll_query_until('postgres', "SELECT ($done) >= 1000") or die;
	$seen = sql($done);
	crash($run);
	cmp_ok(sql($done), '>=', $seen, "$options: rows that were committed are still encoded");
	cmp_ok(sql($done), '<', 20000, 'and not all are');
	cmp_ok(sql($wrong), '==', 20000 - sql($done), 'what is encoded is right');
	sql('ALTER TABLE many DISABLE TRIGGER slow');
	sql('CREATE TABLE places AS SELECT id, ctid AS place FROM many WHERE emb IS NOT DISTINCT FROM ds_encode(title, \'shop\', \'document\')');
	sql("CALL ds_encode_table('many', 'title', 'emb', options => '$options')");
	is(sql($wrong), '0', 'the next call goes on to the end');
	is(sql('SELECT count(*) FROM places JOIN many m USING (id) WHERE m.ctid <> place'), '0', 'without touching what was done');
	sql('ALTER TABLE many ENABLE TRIGGER slow; DROP TABLE places');
}
is(Shop::weights($node), $weights, 'the same weights');
$node->stop;
done_testing();
