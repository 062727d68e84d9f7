#!/usr/bin/env perl
# Pictures of the catalogue's products, for a search that looks at them: each category has a
# shape of its own, drawn in the product's colour, a little moved, larger or smaller, and noisy.
#
#   test/demo/pictures.pl <products.tsv    writes id and PNG (bytea) for COPY
#
# The same products give the same pictures on every machine.
use strict;
use warnings;
use utf8;
use Compress::Zlib ();

use constant EDGE => 48;
my %colours = (
	'红' => [ 200, 30, 40 ], '蓝' => [ 40, 70, 190 ], '黑' => [ 25, 25, 30 ], '白' => [ 246, 246, 240 ], '绿' => [ 40, 140, 70 ], '黄' => [ 235, 200, 40 ],
	'粉' => [ 240, 150, 180 ], '灰' => [ 140, 140, 145 ], '紫' => [ 120, 60, 150 ], '棕' => [ 120, 80, 50 ], '咖' => [ 100, 65, 45 ], '橙' => [ 240, 130, 30 ], '米' => [ 230, 215, 185 ]);

my $state = 1;
sub random { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % $_[0] }
sub hash { my $h = 5381; $h = ($h * 33 + ord) & 0x7fffffff for split //, $_[0]; return $h }
sub chunk { my ($type, $data) = @_; return pack('N', length $data) . $type . $data . pack('N', Compress::Zlib::crc32($type . $data)) }

# 8 x 8, the same on both sides, as good as never the same for two categories
my %shapes;
sub shape
{
	my ($category) = @_;
	return $shapes{$category} //= do
	{
		$state = hash($category);
		my @cells = map { [ map { random(100) < 58 } 1 .. 4 ] } 1 .. 8;
		[ map { [ @$_, reverse @$_ ] } @cells ];
	};
}

binmode STDIN, ':utf8';
binmode STDOUT, ':raw';
while (<STDIN>)
{
	chomp;
	my ($id, undef, undef, $category, undef, $colour) = split /\t/;
	my $cells = shape($category);
	my $paint = $colours{ substr $colour // '', 0, 1 } // [ 90, 130, 140 ];
	$state = $id * 7919 + 1;
	my $size = 34 + random(11);
	my ($left, $top) = map { int((EDGE - $size) / 2) + random(5) - 2 } 1, 2;
	my $raw = '';
	for my $y (0 .. EDGE - 1)
	{
		$raw .= "\0";
		for my $x (0 .. EDGE - 1)
		{
			my ($u, $v) = (int(($x - $left) * 8 / $size), int(($y - $top) * 8 / $size));
			my $inside = $x >= $left && $y >= $top && $u < 8 && $v < 8 && $cells->[$v][$u];
			$raw .= pack 'C3', map { my $c = $_ + random(17) - 8; $c < 0 ? 0 : $c > 255 ? 255 : $c } $inside ? @$paint : (222, 226, 230);
		}
	}
	my $png = "\x89PNG\r\n\x1a\n" . chunk('IHDR', pack('NNC5', EDGE, EDGE, 8, 2, 0, 0, 0)) . chunk('IDAT', Compress::Zlib::compress($raw)) . chunk('IEND', '');
	print "$id\t\\\\x", unpack('H*', $png), "\n";
}
