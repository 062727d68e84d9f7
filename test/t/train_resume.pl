# Trainings that are cut off go on from their checkpoint, and end with the same weights to the bit;
# any number of workers gives these weights; whatever happens to a worker, nothing is left behind.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Shop;
use Time::HiRes qw(time usleep);

my $node = Shop::node('resume');
sub sql { return $node->safe_psql('postgres', $_[0]) }

$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmax_parallel_workers = 8\nmax_parallel_maintenance_workers = 4");
$node->restart;
sql('CREATE EXTENSION deepsearch');
Shop::tables($node);
# with explicit negatives, and a source that can be made slow
sql(<<'SQL');
ALTER TABLE clicks ADD id serial;
CREATE TABLE pace (seconds float);
INSERT INTO pace VALUES (0);
CREATE VIEW triples AS SELECT query, title, CASE WHEN id % 3 > 0 THEN reverse(title) END AS wrong, id FROM clicks;
CREATE FUNCTION metric() RETURNS float LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(seconds) FROM pace;
	RETURN (SELECT avg(ds_encode(query, 'shop') <=> ds_encode(title, 'shop', 'document')) FROM (SELECT * FROM clicks ORDER BY id LIMIT 50) c);
END $$;
SQL
my $source = 'SELECT query, title, wrong FROM triples ORDER BY id';

sub weights
{
	my ($name) = @_;
	return sql("SELECT md5(string_agg(md5(t.name || chunk || data), '' ORDER BY t.name, chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = '$name'");
}
sub workers { return sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'deepsearch%'") }
sub no_workers { return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'deepsearch%'") }

# --- the number of workers ---
my %same;
for my $workers (1, 2, 3, 4)
{
	for my $loss ('cross_entropy', 'contrastive')
	{
		sql("SELECT ds_create_model('w', '$Shop::CONFIG')");
		sql("CALL ds_train('w', '$source', '{\"workers\": $workers, \"epochs\": 2, \"loss\": \"$loss\", \"feature_dropout\": 0.1}')");
		is(sql('SELECT processes FROM ds_training_runs ORDER BY run DESC LIMIT 1'), $workers, "$workers processes");
		push @{ $same{$loss} }, weights('w');
		sql("SELECT ds_drop_model('w')");
	}
}
for my $loss (sort keys %same)
{
	is(join(' ', @{ $same{$loss} }), join(' ', ($same{$loss}[0]) x 4), "$loss: 1, 2, 3 and 4 workers give the same weights");
}
isnt($same{cross_entropy}[0], $same{contrastive}[0], 'and losses do not');
ok(no_workers(), 'no worker stays');

# --- kill -9 in the midst of an epoch: of the session, of a worker, of the server ---
# as soon as the processes of the one that was killed are gone
sub start_again
{
	my $deadline = time + 60;
	while (!$node->start(fail_ok => 1))
	{
		die 'the server does not start' if time > $deadline;
		$node->stop('fast', fail_ok => 1); # what the attempt has left
		usleep(100_000);
	}
	return;
}
sub kill_it
{
	my ($victim) = @_;
	return $node->kill9 if $victim eq 'server';
	kill 'KILL', sql($victim eq 'worker' ? "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'deepsearch%' LIMIT 1" : 'SELECT pid FROM ds_training_runs');
	return;
}
my $pause = '"evaluate": "SELECT metric()", "goal": "min", "evaluate_steps": 7';
for my $case ([ 1, 'session' ], [ 2, 'session' ], [ 2, 'worker' ], [ 1, 'server' ], [ 2, 'server' ])
{
	my ($workers, $victim) = @$case;
	my $options = "{\"epochs\": 6, \"workers\": $workers, \"checkpoint_steps\": 3, \"learn_temperature\": true, $pause}";
	(my $again = $options) =~ s/\{/{"resume": true, /;
	sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
	sql("CALL ds_train('shop', '$source', '$options')");
	my $undisturbed = weights('shop');
	my $figures = sql('SELECT string_agg(format($$%s %s %s$$, step, loss, gradient_norm), $$,$$ ORDER BY step) FROM ds_training_steps');
	my $metrics = sql('SELECT string_agg(format($$%s %s %s %s$$, step, name, value, best), $$,$$ ORDER BY step) FROM ds_training_metrics');
	my $steps = sql('SELECT steps FROM ds_training_runs');
	cmp_ok($steps, '>', 40, 'some steps');
	sql("SELECT ds_drop_model('shop'); UPDATE pace SET seconds = 0.1");
	sql("SELECT ds_create_model('shop', '$Shop::CONFIG')");
	my $run = Shop::start($node, "CALL ds_train('shop', '$source', '$options');");
	# ten steps an epoch
	$node->poll_query_until('postgres', 'SELECT checkpoint_step > 10 AND checkpoint_step % 10 > 0 FROM ds_training_runs') or die;
	kill_it($victim);
	isnt(Shop::finish($run), 0, "$workers workers, $victim killed");
	start_again() if $victim eq 'server';
	# where the workers were gone before it, the session had the time to say so
	$node->poll_query_until('postgres', q{SELECT state IN ('crashed', 'failed') FROM ds_training_runs}) or die;
	my $at = sql('SELECT checkpoint_step FROM ds_training_runs');
	cmp_ok($at, '<', $steps, 'in its midst');
	# cancelled once more
	$run = Shop::start($node, "CALL ds_train('shop', '$source', '$again');");
	$node->poll_query_until('postgres', "SELECT checkpoint_step > $at FROM ds_training_runs") or die;
	sql('SELECT pg_cancel_backend(pid) FROM ds_training_runs');
	isnt(Shop::finish($run), 0, 'cancelled');
	is(sql('SELECT state FROM ds_training_runs'), 'cancelled', 'and said so');
	sql('UPDATE pace SET seconds = 0');
	my ($status, $out, $err) = $node->psql('postgres', "CALL ds_train('shop', '$source', '$again')");
	is($status, 0, 'goes on') or diag($err);
	like($err, qr/goes on behind step/, 'and says where from');
	is(weights('shop'), $undisturbed, 'the weights are those of an undisturbed run');
	is(sql('SELECT string_agg(format($$%s %s %s$$, step, loss, gradient_norm), $$,$$ ORDER BY step) FROM ds_training_steps'), $figures, 'and so are all steps');
	is(sql('SELECT string_agg(format($$%s %s %s %s$$, step, name, value, best), $$,$$ ORDER BY step) FROM ds_training_metrics'), $metrics, 'and all metrics');
	is(sql('SELECT count(*), max(resumed), max(state) FROM ds_training_runs'), '1|2|finished', 'one run, taken up twice');
	is(sql('SELECT count(*) FROM ds_tensor WHERE model < 0'), '0', 'the checkpoint is gone');
	sql("SELECT ds_drop_model('shop')");
}

# --- what else resume meets ---
sql("SELECT ds_create_model('shop', '$Shop::CONFIG'); UPDATE pace SET seconds = 0.05");
my $options = "{\"epochs\": 50, \"checkpoint_steps\": 5, $pause}";
my $run = Shop::start($node, "CALL ds_train('shop', '$source', '$options');");
$node->poll_query_until('postgres', 'SELECT checkpoint_step >= 5 FROM ds_training_runs') or die;
sql('SELECT pg_cancel_backend(pid) FROM ds_training_runs; UPDATE pace SET seconds = 0');
Shop::finish($run);
my (undef, undef, $err) = $node->psql('postgres', "CALL ds_train('shop', '$source', '{\"resume\": true, \"epochs\": 1}')");
like($err, qr/cannot be taken up, because it had other options: a new one begins/, 'other options');
(undef, undef, $err) = $node->psql('postgres', "CALL ds_train('shop', '$source', '{\"resume\": true, \"epochs\": 1}')");
like($err, qr/no interrupted training/, 'a run that has finished leaves none');
sql("SELECT ds_drop_model('shop'); SELECT ds_create_model('shop', '$Shop::CONFIG'); UPDATE pace SET seconds = 0.05");
$run = Shop::start($node, "CALL ds_train('shop', '$source', '$options');");
$node->poll_query_until('postgres', 'SELECT checkpoint_step >= 5 FROM ds_training_runs') or die;
sql('SELECT pg_cancel_backend(pid) FROM ds_training_runs; UPDATE pace SET seconds = 0');
Shop::finish($run);
sql("INSERT INTO clicks (query, title) SELECT query, title || ' new' FROM clicks LIMIT 5");
(my $again = $options) =~ s/\{/{"resume": true, /;
$run = Shop::start($node, "CALL ds_train('shop', '$source', '$again');");
Shop::finish($run);
like($run->{err}, qr/gives other rows than before: epoch \d+ begins anew/, 'other rows: it goes on all the same');
is(sql('SELECT state FROM ds_training_runs'), 'finished', 'to the end');
sql("SELECT ds_drop_model('shop')");
is(sql('SELECT count(*) FROM ds_tensor') . sql('SELECT count(*) FROM ds_training_metric'), '00', 'a dropped model leaves nothing');

# --- workers that fail ---
my $long = "CALL ds_train('shop', '$source', '{\"epochs\": 1000000, \"workers\": 3, \"learning_rate\": 1e-5}');";
sub training
{
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM ds_training_runs WHERE state = 'running' AND step > 10}) or die;
	return;
}
$run = Shop::start($node, $long);
training();
is(workers(), '2', 'two workers beside the session');
sql('SELECT pg_cancel_backend(pid) FROM ds_training_runs WHERE state = $$running$$');
isnt(Shop::finish($run), 0, 'cancelled');
ok(no_workers(), 'cancelled: no worker stays');
$run = Shop::start($node, $long);
training();
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'deepsearch%' LIMIT 1");
isnt(Shop::finish($run), 0, 'a worker was terminated');
like($run->{err}, qr/training worker (was terminated|has ended)/, 'the error says so');
ok(no_workers(), 'the others end too');
is(sql('SELECT state FROM ds_training_runs ORDER BY run DESC LIMIT 1'), 'failed', 'the run has failed');
$run = Shop::start($node, $long);
training();
sql('SELECT pg_terminate_backend(pid) FROM ds_training_runs WHERE state = $$running$$');
isnt(Shop::finish($run), 0, 'the session was terminated');
ok(no_workers(), 'its workers end');
# the server is gone: nobody trains on
for my $workers (1, 3)
{
	(my $some = $long) =~ s/"workers": 3/"workers": $workers/;
	$run = Shop::start($node, $some);
	training();
	my @left = split /\n/, sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL ds_train%' OR backend_type LIKE 'deepsearch%'});
	is(scalar @left, $workers, "$workers train");
	$node->kill9;
	isnt(Shop::finish($run), 0, 'the server was killed');
	my $deadline = time + 60;
	while ((@left = grep { kill 0, $_ } @left) && time < $deadline) { usleep(100_000) }
	is("@left", '', 'and no process of a training outlives it');
	start_again();
}
# an error that all of them meet: the loss is not finite
($run) = Shop::start($node, "CALL ds_train('shop', '$source', '{\"epochs\": 1000, \"workers\": 3, \"learning_rate\": 1000, \"optimizer\": \"sgd\", \"loss\": \"contrastive\", \"clip_norm\": 0, \"margin\": 1000000}');");
Shop::finish($run);
ok(no_workers(), 'an error: no worker stays');
$node->stop;
done_testing();
