# Online learning: steps of several sessions, crashes, a catalogue that drifts, documents encoded anew behind the scenes.
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

my $node = Shop::node('online');
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub encoded { return sql("SELECT ds_encode('$_[0]', '@{[$_[1] // 'shop']}')::text") }

sql('CREATE EXTENSION deepsearch');
Shop::tables($node);
sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
sql("CALL ds_train('shop', '$Shop::SOURCE')");

# --- two sessions: one step after the other, both effects there ---
my $step = 'SELECT version, step FROM ds_train_step(\'shop\', ARRAY[%s], ARRAY[%s], options => \'{"keep_versions": 9}\')';
my $red = sprintf $step, q{'大红裙', '宝蓝衫'}, q{'红色夏季连衣裙', '蓝色冬季衬衫'};
my $black = sprintf $step, q{'乌黑鞋', '雪白褂'}, q{'黑色春季运动鞋', '白色夏季外套'};
my %session = map { $_ => $node->background_psql('postgres', on_error_stop => 0) } qw(first second third);
my @before = map { encoded($_) } qw(大红裙 乌黑鞋);
$session{first}->query_safe('BEGIN');
is($session{first}->query_safe("$red;"), '2|1', 'a step in a transaction block');
isnt($session{first}->query_safe("SELECT ds_encode('大红裙')::text;"), $before[0], 'its session sees it');
is(encoded('大红裙'), $before[0], 'the others do not');
$session{second}->query_until(qr/begun/, "\\echo begun\n$black;\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%乌黑鞋%'}) or die;
pass('a step of another session waits');
my ($status, $out, $err) = $node->psql('postgres', "SET lock_timeout = 100; $black");
like($err, qr/canceling statement due to lock timeout/, 'as long as one lets it');
($status, $out, $err) = $node->psql('postgres', "CALL ds_train('shop', '$Shop::SOURCE')");
like($err, qr/model "shop" is being trained by another session/, 'a training is refused');
$session{first}->query_safe('COMMIT');
is($session{second}->query_safe(';'), '3|2', 'it goes on from the first one\'s commit');
# by one session alone, from the same beginning
my $together = encoded('大红裙') . encoded('乌黑鞋');
sql("SELECT ds_use_version('shop', 1)");
sql($_) for $red, $black;
is(encoded('大红裙') . encoded('乌黑鞋'), $together, 'the same as both steps one after the other');
isnt(encoded('大红裙', 'shop@2'), encoded('大红裙', 'shop@3'), 'and not as one of them');

# what is rolled back was never there, for who waited
$session{first}->query_safe("BEGIN; $red;");
$session{second}->query_until(qr/begun/, "\\echo begun\n$black;\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%乌黑鞋%'}) or die;
$session{first}->query_safe('ROLLBACK');
is($session{second}->query_safe(';'), '6|3', 'the step after a rollback begins where that one began');
# a transaction that cannot see the newest version cannot build upon it
$session{third}->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM clicks;");
sql($red);
($out) = $session{third}->query("$black;");
like($session{third}->{stderr}, qr/could not serialize access/, 'a repeatable transaction is told to try again');
$session{third}->{stderr} = '';
$_->quit for @session{qw(first second)};
eval { $session{third}->quit };

# many at once
sql('CREATE TABLE done (version int, step bigint)');
my $steps_before = sql(q{SELECT step FROM ds_model_versions WHERE current});
my @runs = map { Shop::start($node, join('', map { "INSERT INTO done $red;" } 1 .. 5)) } 1 .. 4;
is(Shop::finish($_), 0, 'five steps beside others') or diag $_->{err} for @runs;
is(sql('SELECT count(DISTINCT version), count(DISTINCT step), max(step) FROM done'), '20|20|' . ($steps_before + 20), 'twenty steps, each upon another');

# --- a crash ---
my $committed = encoded('大红裙');
my $open = $node->background_psql('postgres');
$open->query_safe("BEGIN; $black;");
$node->stop('immediate');
eval { $open->quit };
$node->start;
is(encoded('大红裙'), $committed, 'after a crash: what was committed');
is(sql(q{SELECT step FROM ds_model_versions WHERE current}), $steps_before + 20, 'and nothing else');
sql($black);
is(sql(q{SELECT step FROM ds_model_versions WHERE current}), $steps_before + 21, 'it goes on');
$committed = encoded('乌黑鞋');
$node->stop('immediate');
$node->start;
is(encoded('乌黑鞋'), $committed, 'a step that was committed survives the next crash');

# --- the catalogue drifts ---
# Ten goods in ten colours, ten of each; people search by colour and kind.  Then they begin to say it
# in other words, and there are goods that no training has seen.
sql(<<'SQL');
CREATE TABLE goods (id serial PRIMARY KEY, kind int, colour int, title text, emb embedding(24));
CREATE FUNCTION word(what text, i int) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT translate(substr(md5(what || i), 1, 6), '0123456789', 'ghijklmnop') $$;
INSERT INTO goods (kind, colour, title) SELECT k, c, word('colour', c) || ' ' || word('kind', k) || ' style ' || n
FROM generate_series(1, 10) k, generate_series(1, 10) c, generate_series(1, 10) n;
CREATE TABLE searches (kind int, colour int, query text);
INSERT INTO searches SELECT k, c, word('colour', c) || ' ' || word('kind', k) FROM generate_series(1, 10) k, generate_series(1, 10) c;
CREATE TABLE log (id serial PRIMARY KEY, query text, title text, seen boolean NOT NULL DEFAULT false);
CREATE FUNCTION people_search() RETURNS void LANGUAGE sql AS $$
	INSERT INTO log (query, title) SELECT query, title FROM searches s JOIN goods g USING (kind, colour) WHERE g.id % 3 = 0 ORDER BY md5(g.id::text) $$;
SELECT people_search();
CREATE FUNCTION p10() RETURNS numeric LANGUAGE sql AS $$
	SELECT round(avg((SELECT count(*) FILTER (WHERE (t.kind, t.colour) = (s.kind, s.colour)) / 10.0
		FROM (SELECT kind, colour FROM goods ORDER BY emb <=> ds_encode(s.query, 'drift') LIMIT 10) t)), 3) FROM searches s $$;
SQL
sql(qq{SELECT ds_create_model('drift', '$Shop::CONFIG')});
sql(q{CALL ds_train('drift', 'SELECT query, title FROM log ORDER BY id', '{"epochs": 12, "learning_rate": 0.01}')});
sql(q{CALL ds_encode_table('goods', 'title', 'emb', 'drift'); CREATE INDEX ON goods USING deepsearch (emb);
	CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON goods FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('title', 'emb', 'drift')});
my %p10 = (before => sql('SELECT p10()'));
sql(<<'SQL');
INSERT INTO goods (kind, colour, title) SELECT k, c, word('colour', c) || ' ' || word('kind', k) || ' style ' || n
FROM generate_series(11, 13) k, generate_series(1, 10) c, generate_series(1, 10) n;
UPDATE searches SET query = word('tint', colour) || ' ' || word('sort', kind);
INSERT INTO searches SELECT k, c, word('tint', c) || ' ' || word('sort', k) FROM generate_series(11, 13) k, generate_series(1, 10) c;
SQL
$p10{drifted} = sql('SELECT p10()');
my $embeddings = sql('SELECT md5(string_agg(emb::text, chr(10) ORDER BY id)) FROM goods');
my $written = sql(q{SELECT pg_relation_filenode('goods'), n_tup_upd FROM pg_stat_user_tables WHERE relname = 'goods'});
# the pattern of docs/training.md
sql(<<'SQL');
UPDATE log SET seen = true;
CREATE PROCEDURE learn_clicks(size int DEFAULT 256) LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	LOOP
		WITH batch AS (
			UPDATE log SET seen = true
			WHERE id IN (SELECT id FROM log WHERE NOT seen ORDER BY id LIMIT size FOR UPDATE SKIP LOCKED)
			RETURNING query, title)
		SELECT s.pairs INTO n
		FROM (SELECT array_agg(query) AS queries, array_agg(title) AS titles FROM batch) b,
			ds_train_step('drift', b.queries, b.titles, options => '{"freeze": "document", "learning_rate": 0.01}') s;
		COMMIT;
		EXIT WHEN n IS NULL;
	END LOOP;
END $$;
SQL
for my $night (1 .. 7)
{
	sql('SELECT people_search()');
	sql('CALL learn_clicks(128)');
}
$p10{learned} = sql('SELECT p10()');
is(sql('SELECT count(*) FROM log WHERE NOT seen'), '0', 'all clicks were used');
note join ', ', map { "P\@10 $_: $p10{$_}" } qw(before drifted learned);
cmp_ok($p10{before}, '>', 0.9, "P\@10 before the drift ($p10{before})");
cmp_ok($p10{drifted}, '<', 0.4, "people say it otherwise ($p10{drifted})");
cmp_ok($p10{learned}, '>', $p10{before} - 0.1, "P\@10 after a week of nightly steps ($p10{learned})");
is(sql('SELECT md5(string_agg(emb::text, chr(10) ORDER BY id)) FROM goods'), $embeddings, 'the table has not been encoded again');
is(sql(q{SELECT count(*) FROM goods WHERE emb IS DISTINCT FROM ds_encode(title, 'drift', 'document')}), '0', 'and need not be');
is(sql(q{SELECT DISTINCT document_since FROM ds_model_versions WHERE model = 'drift' AND current}), '1', 'as the model says');
(undef, undef, $err) = $node->psql('postgres', q{UPDATE goods SET emb = NULL WHERE id = 1; CALL ds_encode_table('goods', 'title', 'emb', 'drift')});
unlike($err, qr/WARNING/, 'rows that come in are encoded without a warning');

# --- documents are encoded anew by a version that waits, while the old one answers ---
# a training on all clicks, both towers: its embeddings are others
sql(q{CALL ds_train('drift', 'SELECT query, title FROM log ORDER BY id', '{"epochs": 8, "learning_rate": 0.005, "activate": false}')});
my ($old, $new) = split /\|/, sql(q{SELECT max(version) FILTER (WHERE current), max(version) FROM ds_model_versions WHERE model = 'drift'});
cmp_ok($new, '>', $old, 'a version waits');
is(sql('SELECT p10()'), $p10{learned}, 'the old one answers');
sql(q{ALTER TABLE goods ADD emb2 embedding(24);
	CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN new; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE OF emb2 ON goods FOR EACH ROW EXECUTE FUNCTION slow()});
sql("CREATE TRIGGER encode2 BEFORE INSERT OR UPDATE ON goods FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('title', 'emb2', 'drift\@$new')");
my $encoding = Shop::start($node, qq{CALL ds_encode_table('goods', 'title', 'emb2', 'drift\@$new', options => '{"batch_size": 50}')});
$node->poll_query_until('postgres', 'SELECT count(emb2) > 100 FROM goods') or die;
my $answers = 0;
while (sql('SELECT count(emb2) < 1000 FROM goods') eq 't' && $answers < 50)
{
	is(sql('SELECT p10()'), $p10{learned}, 'while documents are encoded') if $answers % 10 == 0;
	sql("UPDATE goods SET title = title || ' new' WHERE id = 10 + $answers; INSERT INTO goods (kind, colour, title) VALUES (99, 99, 'something else $answers')");
	$answers++;
}
is(Shop::finish($encoding), 0, 'encoded in the background') or diag $encoding->{err};
sql("CALL ds_encode_table('goods', 'title', 'emb2', 'drift\@$new')"); # what came behind its last pass
sql('CREATE INDEX ON goods USING deepsearch (emb2)');
my $last = sql('SELECT p10()');
cmp_ok($last, '>', $p10{before} - 0.1, "the old one to the last ($last)");
# the switch: one transaction
my $watcher = $node->background_psql('postgres');
is($watcher->query_safe('SELECT p10();'), $last, 'a session that is there');
sql(<<"SQL");
BEGIN;
SELECT ds_use_version('drift', $new);
ALTER TABLE goods RENAME emb TO emb_before;
ALTER TABLE goods RENAME emb2 TO emb;
DROP TRIGGER encode2 ON goods;
COMMIT;
ALTER TABLE goods DROP emb_before;
SQL
is(sql(q{SELECT count(*) FROM goods WHERE emb IS DISTINCT FROM ds_encode(title, 'drift', 'document')}), '0', 'every row is of the new version');
my $after = sql('SELECT p10()');
cmp_ok($after, '>', $p10{before} - 0.1, "which answers ($after)");
is($watcher->query_safe('SELECT p10();'), $after, 'to the session that was there, too');
$watcher->quit;
sql(q{INSERT INTO goods (kind, colour, title) VALUES (1, 1, 'one more')});
is(sql(q{SELECT emb = ds_encode(title, 'drift', 'document') FROM goods WHERE title = 'one more'}), 't', 'the trigger goes on with it');
(undef, undef, $err) = $node->psql('postgres', q{UPDATE goods SET emb = NULL WHERE id = 1; CALL ds_encode_table('goods', 'title', 'emb', 'drift')});
unlike($err, qr/WARNING/, 'and so does ds_encode_table');
$node->stop;
done_testing();
