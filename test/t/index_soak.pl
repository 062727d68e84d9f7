# Indexes under load: clients insert, delete, update and search at once, with
# VACUUM, autovacuum and ds_index_maintain running, crashes in between, and a
# standby that reads meanwhile.
#
# Short by default; test/bench/soak runs it for longer:
#   SOAK_SECONDS=12 SOAK_CLIENTS=4 SOAK_CRASHES=1 SOAK_READERS=1 SOAK_SEED=1
#   SOAK_CONSISTENCY=0	the standby compares every page that it replays
#
# Every row follows from its id and version, so a client sees at once whether a
# row that a search returned is what it should be.  Each client changes only
# rows of its own (but for a few updates that make deadlocks), and keeps in a
# ledger, in the same transaction, how many there are and the sum of their ids.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Time::HiRes qw(time usleep);

my $seconds = $ENV{SOAK_SECONDS} || 12;
my $clients = $ENV{SOAK_CLIENTS} || 4;
my $crashes = $ENV{SOAK_CRASHES} // 1;
my $readers = $ENV{SOAK_READERS} // 1;
my $seed = $ENV{SOAK_SEED} || 1;
my $rows = 250;    # of a client at the beginning

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', <<"CONF");
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 50
autovacuum_vacuum_scale_factor = 0
autovacuum_vacuum_insert_threshold = 500
autovacuum_vacuum_cost_delay = 0
autovacuum_max_workers = 2
deadlock_timeout = 200ms
max_wal_size = 2GB
checkpoint_timeout = 30s
wal_keep_size = 4GB
shared_buffers = 48MB
max_connections = 60
max_parallel_workers_per_gather = 0
random_page_cost = 1.1
log_min_messages = warning
fsync = off
CONF
$primary->append_conf('postgresql.conf', "wal_consistency_checking = 'Generic'\n") if $ENV{SOAK_CONSISTENCY};
$primary->start;

sub sql { return $_[0]->safe_psql('postgres', $_[1]) }

sql($primary, <<'SQL');
CREATE EXTENSION deepsearch;

-- the row with this id and version; neighbours in number are neighbours in space, so lists fill up and run dry
CREATE FUNCTION soak_vector(id bigint, version integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN id % 97 = 0 THEN NULL WHEN id % 101 = 0 THEN array_fill(0::real, ARRAY[24])::embedding
		ELSE (SELECT array_agg(sin((id / 200 % 60 * 1000 + j) * 12.9898) + 0.4 * sin((id + version * 7919) * 78.233 + j * j * 3.7))::embedding
			  FROM generate_series(1, 24) j) END $$;
CREATE FUNCTION soak_tag(id bigint, version integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT md5(id::text || ':' || version::text) $$;

CREATE TABLE soak (id bigint, owner integer, version integer, note integer DEFAULT 0, tag text, emb embedding(24))
	WITH (fillfactor = 80);
CREATE INDEX soak_id ON soak (id);
CREATE INDEX soak_l2 ON soak USING deepsearch (emb embedding_l2_ops, owner, tag);
CREATE TABLE ledger (owner integer PRIMARY KEY, next bigint, rows bigint, ids numeric);

CREATE FUNCTION soak_fail(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'SOAK: %', what; END $$;

CREATE FUNCTION soak_use(how text, recall text) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('enable_seqscan', CASE how WHEN 'index' THEN 'off' ELSE 'on' END, true),
		set_config('enable_bitmapscan', CASE how WHEN 'index' THEN 'off' ELSE 'on' END, true),
		set_config('enable_sort', CASE how WHEN 'index' THEN 'off' ELSE 'on' END, true),
		set_config('enable_indexscan', CASE how WHEN 'index' THEN 'on' ELSE 'off' END, true),
		set_config('deepsearch.target_recall', recall, true); $$;

-- Rows that a search returns are themselves, each once, in their order, as many as were asked for.
CREATE FUNCTION soak_search(q embedding, k integer, whose integer, op text, recall text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
	dists double precision[];
	good boolean;
	there bigint;
BEGIN
	PERFORM soak_use('index', recall);
	EXECUTE format('SELECT array_agg(id), array_agg(dist), bool_and(tag = soak_tag(id, version) AND emb IS NOT DISTINCT FROM soak_vector(id, version)
			AND ($3 IS NULL OR owner = $3) AND dist IS NOT DISTINCT FROM soak_vector(id, version) %s $1)
		FROM (SELECT *, emb %s $1 AS dist FROM soak WHERE %s ORDER BY emb %s $1 LIMIT $2) s',
			op, op, CASE WHEN whose IS NULL THEN 'true' ELSE 'owner = $3' END, op)
		INTO ids, dists, good USING q, k, whose;
	IF NOT good THEN PERFORM soak_fail('a row that is not what it should be'); END IF;
	IF coalesce(cardinality(ids), 0) > 0 AND (SELECT count(DISTINCT i) FROM unnest(ids) i) <> cardinality(ids)
	THEN PERFORM soak_fail('a row twice'); END IF;
	IF q IS NOT NULL AND (SELECT returned FROM ds_index_last_scan()) < coalesce(cardinality(ids), 0) THEN PERFORM soak_fail('the index was not used'); END IF;
	IF recall = '1' AND dists IS DISTINCT FROM (SELECT array_agg(d ORDER BY d) FROM unnest(dists) d)
	THEN PERFORM soak_fail('rows out of order'); END IF;
	IF whose IS NOT NULL THEN
		-- only we change our rows, so this is the truth whatever the snapshot
		SELECT l.rows INTO there FROM ledger l WHERE l.owner = whose;
		IF coalesce(cardinality(ids), 0) <> least(k, there) THEN
			PERFORM soak_fail(format('%s of %s own rows returned, %s wanted, %s', coalesce(cardinality(ids), 0), there, k, op));
		END IF;
	END IF;
END $$;

-- The index and a sequential scan see the same; the caller's transaction has one snapshot.
-- (dist + 0: since 16 the planner takes a scan's order for that of an aggregate, and that of a scan without a limit is not exact)
CREATE FUNCTION soak_compare(q embedding, k integer, op text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	a double precision[];
	b double precision[];
	a_rows bigint;
	b_rows bigint;
	a_ids bigint;
	a_sum numeric;
	b_sum numeric;
BEGIN
	IF current_setting('transaction_isolation') <> 'repeatable read' THEN PERFORM soak_fail('the test is wrong'); END IF;
	PERFORM soak_use('index', CASE WHEN k IS NULL THEN '0.95' ELSE '1' END);
	EXECUTE format('SELECT array_agg(dist ORDER BY dist + 0), count(*), count(DISTINCT id), sum(id) FROM (SELECT id, emb %s $1 AS dist FROM soak ORDER BY emb %s $1 LIMIT $2) s', op, op)
		INTO a, a_rows, a_ids, a_sum USING q, k;
	-- (an order by NULL is no order)
	IF q IS NOT NULL AND (SELECT returned FROM ds_index_last_scan()) < a_rows THEN PERFORM soak_fail('the index was not used'); END IF;
	PERFORM soak_use('seq', '0.95');
	EXECUTE format('SELECT array_agg(dist ORDER BY dist + 0), count(*), sum(id) FROM (SELECT id, emb %s $1 AS dist FROM soak ORDER BY emb %s $1 LIMIT $2) s', op, op)
		INTO b, b_rows, b_sum USING q, k;
	IF a IS DISTINCT FROM b OR a_rows <> b_rows OR a_ids <> b_rows THEN
		PERFORM soak_fail(format('index: %s rows, %s different; table: %s rows; %s, limit %s', a_rows, a_ids, b_rows, op, k));
	END IF;
	IF k IS NULL AND a_sum <> b_sum THEN PERFORM soak_fail('other rows'); END IF;
END $$;

CREATE FUNCTION soak_query(me integer, at bigint) RETURNS embedding LANGUAGE sql AS $$
	-- a place where rows are, one where rows were or will be, and now and then no place at all
	SELECT CASE WHEN random() < 0.9 THEN soak_vector(me * 1000000000::bigint + greatest(at - (random() * 300)::bigint, 1), (random() * 3)::integer)
		WHEN random() < 0.9 THEN soak_vector((random() * 1e12)::bigint, 0) END $$;

CREATE PROCEDURE soak_client(me integer, until timestamptz, seed double precision) LANGUAGE plpgsql AS $$
DECLARE
	base bigint := me * 1000000000::bigint;
	mine ledger;
	what double precision;
	n integer;
	gone bigint;
	sums numeric;
	one bigint;
	op text;
BEGIN
	PERFORM setseed(seed);
	WHILE clock_timestamp() < until LOOP
		COMMIT;
		SELECT * INTO mine FROM ledger WHERE owner = me;
		what := random();
		n := 1 + (random() * random() * 40)::integer;
		op := CASE WHEN random() < 0.5 THEN '<=>' ELSE '<->' END;
		IF what < 0.25 THEN
			INSERT INTO soak (id, owner, version, tag, emb)
				SELECT base + i, me, 0, soak_tag(base + i, 0), soak_vector(base + i, 0) FROM generate_series(mine.next, mine.next + n - 1) i;
			UPDATE ledger SET next = next + n, rows = rows + n,
				ids = ids + (SELECT sum(base + i) FROM generate_series(mine.next, mine.next + n - 1) i) WHERE owner = me;
			IF random() < 0.15 THEN
				ROLLBACK;
			ELSE
				COMMIT;
				-- what was committed is found
				one := base + mine.next;
				IF soak_vector(one, 0) IS NOT NULL AND ds_norm(soak_vector(one, 0)) > 0 THEN
					PERFORM soak_use('index', '1');
					EXECUTE 'SELECT count(*) FROM (SELECT id FROM soak ORDER BY emb <-> $2 LIMIT 1) s WHERE id = $1' INTO gone USING one, soak_vector(one, 0);
					IF gone <> 1 THEN PERFORM soak_fail('an inserted row is not found'); END IF;
				END IF;
			END IF;
		ELSIF what < 0.37 THEN
			-- the oldest rows, or any
			IF mine.rows > 150 THEN
				BEGIN
					WITH dead AS (DELETE FROM soak WHERE id IN (SELECT id FROM soak WHERE id BETWEEN base AND base + 999999999
							ORDER BY CASE WHEN what < 0.34 THEN id::double precision ELSE random() END LIMIT n) RETURNING id)
						SELECT count(*), sum(id) INTO gone, sums FROM dead;
					UPDATE ledger SET rows = rows - gone, ids = ids - coalesce(sums, 0) WHERE owner = me;
				EXCEPTION WHEN deadlock_detected THEN
					NULL;
				END;
				IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
			END IF;
		ELSIF what < 0.47 THEN
			BEGIN
				UPDATE soak SET note = note + 1 WHERE id IN (SELECT id FROM soak WHERE id BETWEEN base AND base + 999999999 ORDER BY random() LIMIT n);
			EXCEPTION WHEN deadlock_detected THEN
				NULL;
			END;
			COMMIT;
		ELSIF what < 0.57 THEN
			BEGIN
				UPDATE soak SET version = version + 1, tag = soak_tag(id, version + 1), emb = soak_vector(id, version + 1)
					WHERE id IN (SELECT id FROM soak WHERE id BETWEEN base AND base + 999999999 ORDER BY random() LIMIT n);
			EXCEPTION WHEN deadlock_detected THEN
				NULL;
			END;
			IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
		ELSIF what < 0.60 THEN
			-- other clients' rows, in any order: deadlocks, which may end the others' changes above as well
			BEGIN
				FOR one IN SELECT id FROM soak ORDER BY random() LIMIT 4 LOOP
					UPDATE soak SET note = note + 1 WHERE id = one;
				END LOOP;
			EXCEPTION WHEN deadlock_detected OR serialization_failure THEN
				NULL;
			END;
			COMMIT;
		ELSIF what < 0.80 THEN
			PERFORM soak_search(soak_query(me, mine.next), CASE WHEN random() < 0.8 THEN 10 ELSE 200 END, NULL, op,
				CASE WHEN random() < 0.8 THEN '0.95' ELSE '1' END);
			COMMIT;
		ELSIF what < 0.90 THEN
			PERFORM soak_search(soak_query(me, mine.next), 10, me, op, '0.95');
			COMMIT;
		ELSIF what < 0.98 THEN
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
			PERFORM soak_compare(soak_query(me, mine.next), 25, op);
			COMMIT;
		ELSE
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
			PERFORM soak_compare(soak_query(me, mine.next), NULL, op);
			COMMIT;
		END IF;
	END LOOP;
END $$;

-- on the standby
CREATE PROCEDURE soak_reader(clients integer, until timestamptz, seed double precision) LANGUAGE plpgsql AS $$
DECLARE
	one ledger;
	who integer;
	op text;
	what double precision;
BEGIN
	PERFORM setseed(seed);
	WHILE clock_timestamp() < until LOOP
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
		who := 1 + floor(random() * clients)::integer;
		SELECT * INTO one FROM ledger WHERE owner = who;
		op := CASE WHEN random() < 0.5 THEN '<=>' ELSE '<->' END;
		what := random();
		IF what < 0.4 THEN PERFORM soak_search(soak_query(one.owner, one.next), 10, NULL, op, '0.95');
		ELSIF what < 0.6 THEN PERFORM soak_search(soak_query(one.owner, one.next), 10, one.owner, op, '0.95');
		ELSIF what < 0.85 THEN PERFORM soak_compare(soak_query(one.owner, one.next), 25, op);
		ELSE
			PERFORM soak_compare(soak_query(one.owner, one.next), NULL, op);
			-- rows that are read slowly: an old directory while the primary goes on
			PERFORM pg_sleep(random() * 0.5);
			PERFORM soak_compare(soak_query(one.owner, one.next), NULL, op);
		END IF;
	END LOOP;
	COMMIT;
END $$;
SQL
sql($primary, <<SQL);
INSERT INTO ledger SELECT c, $rows + 1, $rows, ${rows}::numeric * c * 1000000000 + $rows * ($rows + 1) / 2 FROM generate_series(1, $clients) c;
INSERT INTO soak (id, owner, version, tag, emb) SELECT id, c, 0, soak_tag(id, 0), soak_vector(id, 0)
	FROM (SELECT c, c * 1000000000::bigint + i AS id FROM generate_series(1, $clients) c, generate_series(1, $rows) i) s;
CREATE INDEX soak_cosine ON soak USING deepsearch (emb, owner);
SQL

my $standby;
if ($readers > 0)
{
	$primary->backup('start');
	$standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'start', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 2s\n");
	$standby->start;
}

# ---- processes ----

# what the test does to its clients: the crash, deadlocks, and on the standby conflicts with recovery
my $crash = qr/server closed the connection|connection to server|terminating connection|the database system is|crash of another|could not (?:send|receive)|connection to client lost/;
my $conflict = qr/conflict with recovery|being changed too fast to be verified here/;
my @problems;

sub psql
{
	my ($node, $script) = @_;
	my ($out, $err) = ('', '');
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	PostgreSQL::Test::Utils::append_to_file($file, $script);
	my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', \$out, '2>', \$err);
	return { run => $run, err => \$err, node => $node };
}

# errors of a client that the test did not make
sub judge
{
	my ($who, $err, $allowed) = @_;
	my @lines = grep { /ERROR|FATAL|PANIC|WARNING/ && !/$allowed/ } split /\n/, $err;
	push @problems, map { "$who: $_" } @lines;
	if (@lines) { diag($err) }
	return;
}

my $start = time;
my $until = $start + $seconds;
my $generation = 0;

sub start_client
{
	my ($i) = @_;
	my $s = ($seed * 0.6180339887 + $i * 0.1 + $generation++ * 0.01) % 1000 / 1000 + (($seed * 7919 + $i * 104729 + $generation * 1299709) % 1000) / 1001;
	$s -= int $s;
	return psql($primary, "CALL soak_client($i, to_timestamp($until), $s);\n");
}

sub start_reader
{
	my ($i) = @_;
	my $s = (($seed * 31 + $i * 17 + $generation++ * 7) % 1000) / 1001;
	return psql($standby, "CALL soak_reader($clients, to_timestamp($until), $s);\n");
}

sub start_janitor
{
	my $script = join '', map {
		'SELECT pg_sleep(0.4); VACUUM ' . ($_ % 3 == 0 ? '(PARALLEL 2, INDEX_CLEANUP ON) ' : '') . "soak;\n"
		  . ($_ % 2 == 0 ? "SELECT * FROM ds_index_maintain('soak_l2');\n" : "SELECT * FROM ds_index_maintain('soak_cosine');\n")
	} (1 .. $seconds * 3);
	return psql($primary, $script);
}

my %running;

sub stop_all
{
	# they end by themselves when the time is over or the server is gone
	for my $who (sort keys %running)
	{
		$running{$who}{run}->kill_kill if $who eq 'janitor' && time > $until;
		$running{$who}{run}->finish;
		judge($who, ${ $running{$who}{err} }, $who =~ /^reader/ ? qr/$crash|$conflict/ : $crash) unless $who eq 'janitor' && time > $until;
		delete $running{$who};
	}
	return;
}

sub problems_of
{
	my ($node, $index) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SELECT kind, block, row_id, problem FROM ds_index_check('$index') LIMIT 20");
	return '' if $status != 0 && $node != $primary && $err =~ /$conflict/;
	return $status == 0 ? $out : $err;
}

# the ledger against the table and against each index
my $ledger = <<'SQL';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT soak_use('seq', '0.95');
SELECT count(*) FROM ledger FULL JOIN (SELECT owner, count(*) AS n, sum(id) AS s FROM soak GROUP BY owner) t USING (owner)
	WHERE rows IS DISTINCT FROM n OR ids IS DISTINCT FROM s;
SELECT soak_compare(soak_vector(1000000007, 0), NULL, op), soak_compare(soak_vector(2000000003, 0), 100, op) FROM unnest(ARRAY['<=>', '<->']) op;
COMMIT;
SQL

sub settled
{
	my ($when) = @_;
	is(problems_of($primary, $_), '', "$when: $_ is sound") for qw(soak_l2 soak_cosine);
	my ($status, $out, $err) = $primary->psql('postgres', $ledger);
	like("$out$err", qr/^\s*0[\s|]*$/, "$when: what was committed is there, by the table and by the indexes");
	return;
}

# ---- the load ----

my @crash_at = map { $start + $seconds * $_ / ($crashes + 1) } (1 .. $crashes);
my $check_every = $seconds > 60 ? 10 : 3;
my $next_check = $start + $check_every;
my $checks = 0;
my @kinds = ((map { "client $_" } (1 .. $clients)), 'janitor', map { "reader $_" } (1 .. $readers));

while (time < $until)
{
	for my $who (@kinds)
	{
		if (my $one = $running{$who})
		{
			$one->{run}->pump_nb if $one->{run}->pumpable;
			next if $one->{run}->pumpable;
			$one->{run}->finish;
			judge($who, ${ $one->{err} }, $who =~ /^reader/ ? $conflict : qr/^(?!)/);
			delete $running{$who};
			next if time > $until - 1;
		}
		my ($kind, $i) = split / /, $who;
		$running{$who} = $kind eq 'client' ? start_client($i) : $kind eq 'reader' ? start_reader($i) : start_janitor();
	}
	last if @problems;
	if (time > $next_check)
	{
		for my $index (qw(soak_l2 soak_cosine))
		{
			for my $node ($primary, $standby ? $standby : ())
			{
				my $found = problems_of($node, $index);
				push @problems, $node->name . ", $index among changes: $found" if $found ne '';
				$checks++;
			}
		}
		$next_check = time + $check_every;
	}
	if (@crash_at && time > $crash_at[0])
	{
		shift @crash_at;
		$primary->stop('immediate');
		# the standby's readers go on: they are judged when they end
		for my $who (grep { !/^reader/ } keys %running)
		{
			$running{$who}{run}->finish;
			judge($who, ${ $running{$who}{err} }, $crash);
			delete $running{$who};
		}
		$primary->start;
		settled('after a crash');
	}
	usleep(50_000);
}
stop_all();
is(join("\n", @problems), '', "$checks checks and all searches among changes: no problem, no error but the test's own");
settled('in the end');
if ($standby)
{
	$primary->wait_for_catchup($standby);
	is(problems_of($standby, $_), '', "standby: $_ is sound") for qw(soak_l2 soak_cosine);
	my ($status, $out, $err) = $standby->psql('postgres', $ledger);
	like("$out$err", qr/^\s*0[\s|]*$/, 'standby: what was committed is there');
}
sql($primary, 'VACUUM soak; VACUUM soak');
settled('after VACUUM');

# workers of autovacuum tell nobody but the log
for my $node ($primary, $standby ? $standby : ())
{
	my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
	my @bad = grep { /(?:ERROR|FATAL|PANIC):|TRAP:|was terminated by signal/
		  && !/$crash|$conflict|deadlock detected|starting up|shutting down|canceling autovacuum|could not connect to the primary|could not receive data from WAL/ } split /\n/, $log;
	is(join("\n", @bad), '', $node->name . ': no other error in the log');
}
my $stats = sql($primary, "SELECT s FROM ds_index_stats('soak_l2') s");
note("soak_l2: $stats; " . sql($primary, "SELECT sum(next) || ' rows inserted, ' || sum(rows) || ' there' FROM ledger"));
note('statements: ' . sql($primary, "SELECT relname || ' ' || n_tup_ins || ' inserted, ' || n_tup_upd || ' updated, ' || n_tup_hot_upd || ' of them HOT, ' || n_tup_del || ' deleted since the last crash' FROM pg_stat_user_tables WHERE relname = 'soak'"));
$standby->stop if $standby;
$primary->stop;
done_testing();
