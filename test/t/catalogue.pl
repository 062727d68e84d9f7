# The demo's catalogue: the same on every machine, and nothing of what is
# measured with it is in the training pairs.
use strict;
use warnings;
use utf8;

use Digest::SHA;
use File::Temp;
use FindBin;
use Test::More;

my $generator = "$FindBin::Bin/../demo/catalogue.pl";
require $generator;
no warnings "once";    # %Catalogue::ENGLISH
binmode $_, ':encoding(UTF-8)' for Test::More->builder->output, Test::More->builder->failure_output;

my %checksums = (
	'products.tsv' => 'd8d0c0618832365fbdda145290f239731a0688f40d18f328a18817e28acc0c3c',
	'pairs.tsv' => '9528b405712e8e380c72cc922a14594cab9c5ef4332a809035b6c32fd46a72c7',
	'queries.tsv' => 'be4466992e3ca96e2aa9d2823866dd8bfa52e20ea2ad2a9d756ba97f6a583e95');

sub generate {
	my ($hash_seed, @arguments) = @_;
	my $folder = File::Temp->newdir;
	local $ENV{PERL_HASH_SEED} = $hash_seed;
	system($^X, $generator, $folder, @arguments) == 0 or die "$generator failed";
	return $folder;
}

sub checksum { return Digest::SHA->new(256)->addfile($_[0], 'b')->hexdigest }

sub read_rows {
	my ($path) = @_;
	open my $file, '<:encoding(UTF-8)', $path or die "$path: $!";
	return map { chomp; [split /\t/, $_, -1] } <$file>;
}

# --- the same files for ever ---
my $folder = generate(1);
my $again = generate(2);
for my $name (sort keys %checksums) {
	is(checksum("$folder/$name"), $checksums{$name}, "$name has the known checksum");
	is(checksum("$again/$name"), checksum("$folder/$name"), "$name does not depend on the order of hashes");
}
my $other = generate(1, 100, 100, 2);
my $small = generate(1, 100, 100, 1);
isnt(checksum("$other/products.tsv"), checksum("$small/products.tsv"), 'another seed gives another catalogue');
is(scalar(my @few = read_rows("$small/products.tsv")), 100, 'the number of products can be chosen');
is(system("$^X $generator /nonexistent 2>/dev/null") >> 8 != 0, 1, 'a folder that does not exist is an error');

# --- products ---
my @columns = qw(id title department category season colour material gender brand price);
my @products = map { my %row; @row{@columns} = @$_; \%row } read_rows("$folder/products.tsv");
cmp_ok(scalar @products, '>=', 5000, 'at least 5,000 products');
my %titles = map { $_->{title} => 1 } @products;
cmp_ok(scalar keys %titles, '>', 0.99 * @products, 'titles differ');
my ($unnamed, $unknown) = (0, 0);
for my $product (@products) {
	for my $attribute (@Catalogue::ATTRIBUTES) {
		next if $product->{$attribute} eq '';
		my $names = $Catalogue::SYNONYMS{$attribute}{$product->{$attribute}};
		if (!$names) { $unknown++; next }
		$unnamed++ if !grep { index($product->{title}, $_) >= 0 } @$names;
	}
}
is($unknown, 0, 'every value has synonyms');
is($unnamed, 0, 'every title names each attribute by one of its synonyms');

# --- what is held out ---
my @queries = map {
	my %row;
	@row{qw(id lang query), @Catalogue::ATTRIBUTES} = @$_;
	\%row;
} read_rows("$folder/queries.tsv");
my %held_out;
for my $query (@queries) {
	my %asked = map { $_ => $query->{$_} } grep { $query->{$_} ne '' } @Catalogue::ATTRIBUTES;
	$held_out{Catalogue::combination_string(\%asked)} = \%asked;
}
is($queries[0]{query}, '夏季连衣裙', 'the first query is 夏季连衣裙');
cmp_ok(scalar keys %held_out, '>=', 80, 'combinations are held out: ' . keys %held_out);
my $least = 1e9;
for my $asked (values %held_out) {
	my $relevant = grep { Catalogue::includes($_, $asked) } @products;
	$least = $relevant if $relevant < $least;
}
cmp_ok($least, '>=', 10, "each has ten relevant products: the least has $least");

# --- and not in the training pairs: by what the generator says that it asked for ---
my @pairs = read_rows("$folder/pairs.tsv");

my %held_out_of;
push @{$held_out_of{$_->{category}}}, $_ for values %held_out;

sub leaks {    # the held-out combinations that a query asks for, alone or with more
	my ($asked) = @_;
	return grep { Catalogue::includes($asked, $_) } @{$held_out_of{$asked->{category} // ''}};
}
my @asked = map { {map { split /=/ } split /;/, $_->[2]} } @pairs;
is(scalar(grep { leaks($_) } @asked), 0, 'no pair asks for a held-out combination');
my %products = map { $_->{id} => $_ } @products;
my $right = grep { Catalogue::includes($products{$pairs[$_][1]}, $asked[$_]) } 0 .. $#pairs;
cmp_ok($right / @pairs, '>', 0.97, sprintf 'clicks are right, mostly: %.3f', $right / @pairs);
cmp_ok($right / @pairs, '<', 1, 'some are wrong');

# --- and by the words of its query, the longest name at each place ---
my %meaning;
for my $attribute (@Catalogue::ATTRIBUTES) {
	for my $value (sort keys %{$Catalogue::SYNONYMS{$attribute}}) {
		for my $name (@{$Catalogue::SYNONYMS{$attribute}{$value}}, @{$Catalogue::ENGLISH{$attribute}{$value}}) {
			die "$name has two meanings\n" if defined $meaning{$name};
			$meaning{$name} = [$attribute, $value];
		}
	}
}
my $any = join '|', map { /^[a-z]/ ? "(?<![a-z])\Q$_\E(?![a-z])" : quotemeta } sort { length $b <=> length $a || $a cmp $b } keys %meaning;

sub understand {
	my ($query) = @_;
	my %asked;
	while ($query =~ /($any)/g) {
		my ($attribute, $value) = @{$meaning{$1}};
		$asked{$attribute} //= $value;
	}
	return \%asked;
}
is(Catalogue::combination_string(understand("女款 夏天真丝裙子")), 'category=连衣裙;season=夏季;material=真丝;gender=女士',
	'queries are understood');
is(scalar leaks(understand('夏日 red dress')), 1, 'a leak is seen');
my ($understood, $leaked) = (0, 0);
my %texts;
for my $i (0 .. $#pairs) {
	my $query = $pairs[$i][0];
	$texts{$query} = 1;
	my $meant = understand($query);
	$understood++ if Catalogue::combination_string($meant) eq $pairs[$i][2];
	# (a typing error can make one thing of another: "odwn jacket" is no jacket)
	if (($meant->{category} // '') eq $asked[$i]{category} && leaks($meant)) {
		$leaked++;
		diag("$query: " . Catalogue::combination_string($meant));
	}
}
cmp_ok($understood / @pairs, '>', 0.93, sprintf 'most queries are understood by their words: %.3f', $understood / @pairs);
is($leaked, 0, 'no query in the pairs says a held-out combination');
is(scalar(grep { $texts{$_->{query}} } @queries), 0, 'no query of the evaluation is among the pairs');

done_testing();
