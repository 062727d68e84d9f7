# Memory of a build: what its processes and its shared segment take stays within
# maintenance_work_mem.  And its progress moves in every phase.
use strict;
use warnings;

use IPC::Run;
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
	plan skip_all => 'needs /proc with RssAnon' unless -r "/proc/$$/status" && `cat /proc/$$/status` =~ /RssAnon/;
}
use Time::HiRes qw(usleep);

# A process has this much (MB) before it does anything, and shared memory of it
# that other servers of this machine take and give back meanwhile
use constant PROCESS => 5;

my $node = PostgreSQL::Test::Cluster->new('memory');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
max_worker_processes = 8
max_parallel_workers = 8
shared_buffers = 64MB
CONF
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# embeddings in two hundred clusters: the same numbers, shifted
sql(<<'SQL');
CREATE EXTENSION deepsearch;
CREATE TABLE seed AS SELECT i, (SELECT array_agg(sin(i * 12.9898 + j * j * 3.7 + i * j * 0.11)) FROM generate_series(1, 256) j)::embedding AS emb
	FROM generate_series(1, 500) i;
CREATE TABLE big AS SELECT a.emb + b.emb * (0.1 + 0.001 * (a.i * 31 + b.i * 17) % 100)::real::float8 AS emb FROM seed a, seed b WHERE b.i <= 120;
VACUUM ANALYZE big;
SQL

sub anonymous # kB of a process
{
	open(my $status, '<', "/proc/$_[0]/status") or return 0;
	while (<$status>) { return $1 if /^RssAnon:\s+(\d+)/; }
	return 0;
}

sub workers_of
{
	my $leader = shift;
	my @found;
	foreach my $file (glob '/proc/[0-9]*/cmdline')
	{
		open(my $command, '<', $file) or next;
		my $line = <$command>;
		push @found, $file =~ /(\d+)/ if $line && $line =~ /parallel worker for PID $leader\b/;
	}
	return @found;
}

foreach my $case ([ 16, 0 ], [ 16, 2 ], [ 64, 0 ], [ 64, 2 ])
{
	my ($memory, $workers) = @$case;
	my ($out, $err, $in) = ('', '', "SELECT 'pid ' || pg_backend_pid();\n");
	my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
	$run->pump until $out =~ /pid (\d+)/;
	my ($leader) = $out =~ /pid (\d+)/;
	$in .= "LOAD 'deepsearch'; SET maintenance_work_mem = '${memory}MB'; SET max_parallel_maintenance_workers = $workers;
		ALTER TABLE big SET (parallel_workers = $workers); SELECT 'ready';\n";
	$run->pump until $out =~ /ready/;
	my $before = anonymous($leader);
	$in .= "CREATE INDEX i ON big USING deepsearch (emb); SELECT 'done';\n";
	my ($most, $turn, @workers) = (0, 0);
	until ($out =~ /done/ || $err =~ /ERROR/)
	{
		$run->pump_nb;
		@workers = workers_of($leader) if $turn++ % 8 == 0;
		my $now = anonymous($leader) - $before;
		$now += anonymous($_) foreach @workers;
		$most = $now if $now > $most;
		usleep(3000);
	}
	$in .= "\\q\n";
	$run->finish;
	unlike($err, qr/ERROR/, 'built') or diag($err);
	# a tenth more than it says, and what processes are by themselves
	my $limit = 1.1 * $memory + PROCESS * (1 + $workers);
	cmp_ok($most / 1024, '<', $limit, sprintf('%d MB, %d workers: %.1f MB, of %.1f', $memory, $workers, $most / 1024, $limit));
	sql('DROP INDEX i');
}

# ---- progress ----
my ($out, $err) = ('', '');
my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'),
		'-c', 'CREATE INDEX i ON big USING deepsearch (emb) WITH (lists = 1500)' ], '<', \undef, '>', \$out, '2>', \$err);
my $watch = $node->background_psql('postgres');
my $phases = $watch->query(q{
	CREATE TEMP TABLE seen (phase text, done bigint, total bigint);
	DO $$
	BEGIN
		FOR i IN 1..30000 LOOP
			INSERT INTO seen SELECT phase, tuples_done, tuples_total FROM pg_stat_progress_create_index;
			EXIT WHEN NOT FOUND AND EXISTS (SELECT FROM seen);
			PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
		END LOOP;
	END $$;
	SELECT phase || ' ' || count(DISTINCT done) || ' ' || bool_and(done <= total) || ' ' || max(total) FROM seen WHERE phase <> 'building index: initializing' GROUP BY phase;});
$watch->quit;
$run->finish;
foreach my $phase ('sampling table', 'clustering sample', 'assigning rows to lists', 'writing lists')
{
	my ($different) = $phases =~ /$phase (\d+) /;
	cmp_ok($different // 0, '>=', 3, "progress moves while $phase");
}
like($phases, qr/$_ \d+ t/, "never more done than it said while $_") foreach 'clustering sample', 'writing lists';
# the sort may be over before anybody looks
ok($phases !~ /$_/ || $phases =~ /$_ \d+ t\w* 60000$/m, "how many rows there are is known while $_") foreach 'sorting by list', 'writing lists';

$node->stop;
done_testing();
