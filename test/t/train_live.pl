# Sessions side by side: cancelling, one training at a time, a new version seen by others.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
	require PostgreSQL::Test::BackgroundPsql unless PostgreSQL::Test::Cluster->can('background_psql');
}
use Time::HiRes qw(usleep time);
use Shop;

my $node = Shop::node('live');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql('CREATE EXTENSION deepsearch');
Shop::tables($node);
sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
sql("CALL ds_train('shop', '$Shop::SOURCE')");
sql("CALL ds_encode_table('products', 'title', 'emb')");
my $long = "CALL ds_train('shop', '$Shop::SOURCE', '{\"epochs\": 1000000}');";

# Cancel what a run does, and how long that takes in ms
sub cancel
{
	my ($run, $pid) = @_;
	my $start = time;
	sql("SELECT pg_cancel_backend($pid)");
	Shop::finish($run);
	return (time - $start) * 1000;
}

# --- one at a time ---
my $weights = Shop::weights($node);
my $run = Shop::start($node, $long);
ok($node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM ds_training_steps WHERE run = 2'), 'training');
my ($status, $out, $err) = $node->psql('postgres', "CALL ds_train('shop', '$Shop::SOURCE')");
like($err, qr/ERROR:  model "shop" is being trained by another session/, 'a second training is refused');
($status, $out, $err) = $node->psql('postgres', "SELECT ds_drop_model('shop')");
like($err, qr/ERROR:  model "shop" is being trained by another session/, 'a drop is refused');
sql("CALL ds_train('other', '$Shop::SOURCE', '{\"epochs\": 1}')");
is(sql(q{SELECT version FROM ds_models WHERE name = 'other'}), '1', 'another model can be trained meanwhile');
sql("SELECT ds_drop_model('other')");
is(sql("SELECT ds_dims(ds_encode('红色'))"), '24', 'the model answers while it is trained');

# --- cancelling ---
my $elapsed = cancel($run, sql('SELECT pid FROM ds_training_runs WHERE run = 2'));
like($run->{err}, qr/canceling statement due to user request/, 'a training can be cancelled');
cmp_ok($elapsed, '<', 1000, sprintf('at once (%.0f ms with two connections made)', $elapsed));
is(sql('SELECT state FROM ds_training_runs WHERE run = 2'), 'cancelled', 'the run says so');
like(sql('SELECT message FROM ds_training_runs WHERE run = 2'), qr/canceling statement/, 'and why');
is(sql('SELECT max(step) = (SELECT step FROM ds_training_runs WHERE run = 2) FROM ds_training_steps WHERE run = 2'), 't', 'its steps are there');
is(Shop::weights($node), $weights, 'the model is as before');
like($run->{err}, qr/NOTICE:  epoch \d+ of 1000000, step \d+ of 10000000: loss [\d.]+, learning rate [\d.e-]+, [\d.]+ steps\/s, [\d.]+ (s|min|h) left/,
	'progress was told') if $elapsed && $run->{err} =~ /steps\/s/;

# while reading the source
$run = Shop::start($node, "CALL ds_train('shop', 'SELECT query, title FROM clicks, pg_sleep(60)');");
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'}) or die;
cancel($run, sql('SELECT pid FROM ds_training_runs WHERE run = 4'));
is(sql('SELECT state FROM ds_training_runs WHERE run = 4'), 'cancelled', 'cancelled while the source was read');
# statement_timeout is a cancel too
($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = 300; $long");
like($err, qr/canceling statement due to statement timeout/, 'statement_timeout works');
is(sql('SELECT state FROM ds_training_runs WHERE run = 5'), 'cancelled', 'and is noted');
sql("CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 5}')");
is(sql(q{SELECT version FROM ds_models}), '2', 'nothing is left locked');
isnt(Shop::weights($node), $weights, 'trained');

# --- a new version is seen by the next statement of every session ---
my $text = '红色连衣裙';
my $one = "SELECT ds_encode('$text')::text;";
my %session = map { $_ => $node->background_psql('postgres') } qw(idle block repeatable cursor prepared);
$session{block}->query_safe('BEGIN');
$session{repeatable}->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$session{prepared}->query_safe("PREPARE p AS $one SET plan_cache_mode = force_generic_plan");
my $old = sql($one);
for my $name (qw(idle block repeatable)) { is($session{$name}->query_safe($one), $old, "$name: old version") }
is($session{prepared}->query_safe('EXECUTE p;'), $old, 'prepared: old version');
$session{cursor}->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT ds_encode('$text')::text FROM generate_series(1, 9)");
is($session{cursor}->query_safe('FETCH c;'), $old, 'cursor: old version');
sql("CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 77}')");
my $new = sql($one);
isnt($new, $old, 'the new version answers otherwise');
for my $name (qw(idle block)) { is($session{$name}->query_safe($one), $new, "$name: new version at the next statement") }
is($session{prepared}->query_safe('EXECUTE p;'), $new, 'prepared: new version');
is($session{repeatable}->query_safe($one), $old, 'repeatable read keeps its version');
is($session{repeatable}->query_safe("SELECT ds_encode('$text' || '')::text"), $old, 'also for another call site');
is($session{cursor}->query_safe('FETCH c;'), $old, 'an open cursor keeps its version');
is($session{cursor}->query_safe($one), $new, 'beside a new statement');
is($session{cursor}->query_safe('FETCH c;'), $old, 'and still');
# a lock taken in the transaction processes the invalidation in its midst
is($session{repeatable}->query_safe("SELECT count(*) FROM clicks; $one"), "600\n$old", 'repeatable read after invalidations');
$session{repeatable}->query_safe('COMMIT');
is($session{repeatable}->query_safe($one), $new, 'and after its end');
# a statement whose snapshot is older than the change, seeing it in its midst
$session{idle}->query_until(qr/begun/, <<"SQL");
\\echo begun
SELECT count(DISTINCT ds_encode('$text' || CASE WHEN i = 2 THEN (SELECT substr(pg_sleep(2)::text || count(*)::text, 1, 0) FROM products) ELSE '' END)::text) FROM generate_series(1, 3) i;
SQL
usleep(500_000);
sql("CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 78}')");
is($session{idle}->query_safe(';'), '1', 'one statement has one version');
my $newest = sql($one);
isnt($newest, $new, 'a third version');
is($session{idle}->query_safe($one), $newest, 'and the statement after it the newest');
is($session{block}->query_safe($one), $newest, 'in a transaction block too');
# rights are looked at again, too
sql('CREATE ROLE reader LOGIN; CREATE ROLE readers; SELECT ds_grant_model(\'shop\', \'readers\'); GRANT readers TO reader');
my $reader = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'reader' ]);
is($reader->query_safe($one), $newest, 'a member of a role that may read');
sql('REVOKE readers FROM reader');
$reader->query($one);
like($reader->{stderr}, qr/permission denied for every model/, 'and no longer a member');
$reader->{stderr} = '';
sql('GRANT readers TO reader');
is($reader->query_safe($one), $newest, 'and again');
sql("SELECT ds_drop_model('shop')");
$reader->query($one);
like($reader->{stderr}, qr/model "shop" does not exist|there is no model/, 'and without the model');
$_->quit for values %session, $reader;

# --- encoding a table beside others ---
sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
sql("CALL ds_train('shop', '$Shop::SOURCE')");
sql(<<'SQL');
CREATE TABLE many (id int PRIMARY KEY, title text, emb embedding(24));
INSERT INTO many (id, title) SELECT i, '红色连衣裙 ' || i FROM generate_series(1, 6000) i;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.id % 10 = 0 THEN PERFORM pg_sleep(0.003); END IF; RETURN new; END $$;
CREATE TRIGGER slow BEFORE UPDATE OF emb ON many FOR EACH ROW EXECUTE FUNCTION slow();
SQL
$run = Shop::start($node, q{CALL ds_encode_table('many', 'title', 'emb', options => '{"batch_size": 100}');});
$node->poll_query_until('postgres', 'SELECT count(emb) > 0 FROM many') or die;
# rows in front, behind and at the window: changed, moved, deleted, inserted
for my $i (1 .. 15)
{
	sql("UPDATE many SET title = title || ' changed', emb = NULL WHERE id % 97 = $i; DELETE FROM many WHERE id % 389 = $i;
		 INSERT INTO many (id, title) SELECT 10000 * $i + j, 'new ' || j FROM generate_series(1, 20) j");
}
is(Shop::finish($run), 0, 'encoding while others write');
like($run->{err}, qr/NOTICE:  encoded \d+ rows in [\d.]+ s/, 'it says what it did');
sql(q{CALL ds_encode_table('many', 'title', 'emb')}); # what came after its last pass
is(sql(q{SELECT count(*) FROM many WHERE emb IS DISTINCT FROM ds_encode(title, 'shop', 'document')}), '0',
	'no row has the embedding of another text');
sql('UPDATE many SET emb = NULL');
$run = Shop::start($node, q{CALL ds_encode_table('many', 'title', 'emb', options => '{"batch_size": 100}');});
$node->poll_query_until('postgres', 'SELECT count(emb) >= 500 FROM many') or die;
$elapsed = cancel($run, sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL ds_encode_table%' AND state = 'active'}));
cmp_ok($elapsed, '<', 1000, sprintf('an encoding is cancelled at once (%.0f ms)', $elapsed));
cmp_ok(sql('SELECT count(emb) FROM many'), '>=', 500, 'what was committed stays');
sql(q{ALTER TABLE many DISABLE TRIGGER slow});
sql(q{CALL ds_encode_table('many', 'title', 'emb')});
is(sql(q{SELECT count(*) FROM many WHERE emb IS DISTINCT FROM ds_encode(title, 'shop', 'document')}), '0', 'and the next call finishes');
$node->stop;
done_testing();
