# What ds_evaluate and ds_evaluate_queries compute, against a second
# implementation of trec_eval's definitions: of made-up runs with ties, documents
# that nobody has judged, grades below 0 and queries that find nothing, and of
# text search over the Cranfield collection, where that is there.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use List::Util qw(max min sum0);
use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Shop;

my $node = Shop::node('evaluate');
$node->safe_psql('postgres', 'CREATE EXTENSION deepsearch');
my $folder = PostgreSQL::Test::Utils::tempdir();

# trec_eval ranks by score, the highest first, and equal scores by document
# number, the last in the order of bytes first (form_res_rels.c).
sub ranked
{
	my ($run) = @_;
	return sort { $run->{$b} <=> $run->{$a} || $b cmp $a } keys %$run;
}

# One query: the measures of trec_eval 9 by name (m_P.c, m_recall.c, m_recip_rank.c, m_ndcg_cut.c,
# m_map_cut.c, m_success.c).  %$judged: document => grade.  A document without a grade has none.
sub measures
{
	my ($run, $judged, $k, $depth, $exponential) = @_;
	my @list = ranked($run);
	my $relevant = grep { $_ > 0 } values %$judged;
	my @grades = map { max($judged->{$_} // 0, 0) } @list;
	my @best = sort { $b <=> $a } grep { $_ > 0 } values %$judged;
	my $gain = sub { $exponential ? 2**$_[0] - 1 : $_[0] };
	my $dcg = sub {
		my @g = @_;
		return sum0(map { $gain->($g[$_]) * log(2) / log($_ + 2) } 0 .. min($k, scalar @g) - 1);
	};
	my $found = grep { $_ > 0 } @grades[0 .. min($k, scalar @grades) - 1];
	my ($first) = grep { $grades[$_] > 0 } 0 .. min($k, scalar @grades) - 1;
	my ($seen, $ap) = (0, 0);
	for my $i (0 .. min($depth, scalar @grades) - 1)
	{
		$ap += ++$seen / ($i + 1) if $grades[$i] > 0;
	}
	return {
		precision => $found / $k,
		recall => $found / $relevant,
		reciprocal_rank => defined $first ? 1 / ($first + 1) : 0,
		ndcg => $dcg->(@grades) / $dcg->(@best),
		average_precision => $ap / $relevant,
		hit => $found ? 1 : 0,
	};
}

my @names = qw(precision recall reciprocal_rank ndcg average_precision hit);
my %mean_name = (reciprocal_rank => 'mrr', average_precision => 'map', hit => 'hit_rate');

# Compare with the tables run (q, doc, score) and qrels (q, doc, grade).
sub compare
{
	my ($name, $k, $depth, $gain) = @_;
	my (%run, %qrels, %sum, %worst);
	for (split /\n/, $node->safe_psql('postgres', 'SELECT q, doc, score FROM run'))
	{
		my ($q, $doc, $score) = split /\|/;
		$run{$q}{$doc} = $score;
	}
	for (split /\n/, $node->safe_psql('postgres', 'SELECT q, doc, grade FROM qrels'))
	{
		my ($q, $doc, $grade) = split /\|/;
		$qrels{$q}{$doc} = $grade;
	}
	my $arguments = "'SELECT DISTINCT q, q FROM qrels',
		'SELECT doc FROM run WHERE q = \$1 ORDER BY score DESC, doc COLLATE \"C\" DESC LIMIT \$2',
		'SELECT q, doc, grade FROM qrels', $k, gain => '$gain', depth => $depth";
	my ($n, $left_out) = (0, 0);
	$worst{$_} = 0 for @names;
	for (split /\n/, $node->safe_psql('postgres', "SELECT query_id, @{[join ', ', @names]} FROM ds_evaluate_queries($arguments)"))
	{
		my ($q, @got) = split /\|/, $_, -1;
		if (!grep { $_ > 0 } values %{ $qrels{$q} })
		{
			$left_out++;
			is(join('', @got), '', "$name: nothing to measure in query $q");
			next;
		}
		my $want = measures($run{$q} // {}, $qrels{$q}, $k, $depth, $gain eq 'exponential');
		$n++;
		for my $i (0 .. $#names)
		{
			$worst{ $names[$i] } = max($worst{ $names[$i] }, abs($got[$i] - $want->{ $names[$i] }));
			$sum{ $names[$i] } += $want->{ $names[$i] };
		}
	}
	my ($row) = $node->safe_psql('postgres',
		"SELECT queries, left_out, @{[join ', ', map { $mean_name{$_} // $_ } @names]} FROM ds_evaluate($arguments)");
	my ($queries, $out, @means) = split /\|/, $row;
	is("$queries $out", "$n $left_out", "$name: queries and those left out");
	cmp_ok($n, '>', 40, "$name: $n queries");
	for my $i (0 .. $#names)
	{
		cmp_ok($worst{ $names[$i] }, '<', 1e-12, "$name: $names[$i] of every query");
		cmp_ok(abs($means[$i] - $sum{ $names[$i] } / $n), '<', 1e-12, "$name: mean $names[$i] is $means[$i]");
	}
	return;
}

# Runs that nobody has searched for: few scores, so that many are equal; numbers as text, where 9 comes after 10.
$node->safe_psql('postgres', <<'SQL');
SELECT setseed(0.25);
CREATE TABLE run AS
SELECT 'q' || q AS q, d::text AS doc, floor(random() * 6)::float4 / 4 AS score
FROM generate_series(1, 60) q, generate_series(1, 120) d WHERE q % 10 <> 3 AND random() < 0.1 * (q % 7);
CREATE TABLE qrels AS
SELECT 'q' || q AS q, d::text AS doc, floor(random() * 7)::int - 2 AS grade
FROM generate_series(1, 60) q, generate_series(1, 200) d WHERE random() < 0.2;
UPDATE qrels SET grade = 0 WHERE q IN ('q5', 'q50') AND grade > 0;
CREATE INDEX ON run (q);
SQL
is($node->safe_psql('postgres', "SELECT count(*) FROM run WHERE q = 'q3'"), '0', 'there is a query that finds nothing');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT q, score FROM run GROUP BY 1, 2 HAVING count(*) > 1) x'),
	'>', 20, 'there are ties');
compare('made up, 10', 10, 1000, 'linear');
compare('made up, 3 and 20, exponential', 3, 20, 'exponential');

# Cranfield: the classic of 1967.  Its grades are 1 (the best) to 4, and -1: they are taken as they are
# written, which is what programs are compared with.
SKIP:
{
	my $data = ($ENV{DS_SHARED_DATA} // '../shared/data') . '/cranfield';
	skip "no Cranfield collection in $data", 1 unless -e "$data/cran.all.1400";
	my (%text, $id, $part);
	my %question;
	for my $file (["cran.all.1400", \%text], ["cran.qry", \%question])
	{
		my $number = 0;
		open my $in, '<', "$data/$file->[0]" or die "$file->[0]: $!";
		while (<$in>)
		{
			# the questions are counted: the judgements do not use the numbers that they have
			if (/^\.I (\d+)/) { $id = $file->[1] == \%question ? ++$number : $1; $part = ''; $file->[1]{$id} = ''; next }
			if (/^\.([TABW])/) { $part = $1; next }
			$file->[1]{$id} .= $_ if $part eq 'T' || $part eq 'W';
		}
		close $in;
	}
	is(scalar(keys %text) . ' ' . scalar(keys %question), '1400 225', 'the Cranfield collection');
	my $sql = "TRUNCATE run, qrels;\nCREATE TABLE docs (doc text, words tsvector);\nCREATE TABLE questions (q text, words tsquery);\n";
	for my $d (sort { $a <=> $b } keys %text)
	{
		$text{$d} =~ s/'/''/g;
		$sql .= "INSERT INTO docs VALUES ('$d', to_tsvector('english', '$text{$d}'));\n";
	}
	for my $q (sort { $a <=> $b } keys %question)
	{
		$question{$q} =~ s/'/''/g;
		$sql .= "INSERT INTO questions VALUES ('$q', replace(plainto_tsquery('english', '$question{$q}')::text, '&', '|')::tsquery);\n";
	}
	open my $in, '<', "$data/cranqrel" or die "cranqrel: $!";
	while (<$in>)
	{
		$sql .= "INSERT INTO qrels VALUES ('$1', '$2', $3);\n" if /^(\d+)\s+(\d+)\s+(-?\d+)/;
	}
	close $in;
	# coarse scores, so that there are ties here too
	$sql .= "INSERT INTO run SELECT q, doc, round(ts_rank(d.words, s.words)::numeric, 3) FROM questions s, docs d WHERE d.words @@ s.words;";
	open my $out, '>', "$folder/cranfield.sql" or die $!;
	print $out $sql;
	close $out;
	$node->safe_psql('postgres', "BEGIN;\n$sql\nCOMMIT;");
	compare('Cranfield, 10', 10, 1000, 'linear');
	compare('Cranfield, 20, exponential', 20, 20, 'exponential');
	if ($ENV{DS_TREC_FOLDER})
	{
		# files for trec_eval itself
		$node->safe_psql('postgres', "COPY (SELECT q || ' 0 ' || doc || ' ' || grade FROM qrels) TO '$ENV{DS_TREC_FOLDER}/qrels'");
		$node->safe_psql('postgres', "COPY (SELECT q || ' Q0 ' || doc || ' 1 ' || score || ' run' FROM run ORDER BY q) TO '$ENV{DS_TREC_FOLDER}/run'");
	}
}

$node->stop;
done_testing();
