# Tables of every type of vector: dumped and restored, copied in binary form, indexes and constraints included.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Shop;

my $node = Shop::node('types');
my $folder = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

# in a schema that is on no one's path
sql('CREATE SCHEMA vectors; CREATE EXTENSION deepsearch SCHEMA vectors');
sql(q{
SET search_path = public, vectors;
CREATE TABLE item (id int PRIMARY KEY, e embedding(20), h halfembedding(20) DEFAULT array_fill(1, ARRAY[20])::halfembedding,
	s sparseembedding(20), code bit(20) GENERATED ALWAYS AS (ds_binarize(h)) STORED, CHECK (ds_norm(h) < 1000));
INSERT INTO item SELECT i, v, v, (v * v)::sparseembedding
FROM (SELECT i, (SELECT array_agg(hashint4(i * 100 + j) / 2147483648.0) FROM generate_series(1, 20) j)::embedding AS v FROM generate_series(1, 300) i) t;
INSERT INTO item VALUES (301, NULL, NULL, NULL), (302, NULL, '[6e-8,65,-0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]', '{20:-3e38}/20');
INSERT INTO item (id) VALUES (303);
CREATE INDEX item_h ON item USING deepsearch (h halfembedding_l2_ops, id);
CREATE INDEX item_btree ON item (h);
CREATE INDEX item_sparse ON item USING hash (s);
});
my $rows = q{SELECT string_agg(concat_ws('|', id, e, h, s, code), E'\n' ORDER BY id) FROM item};
my $bits = q{SELECT md5(string_agg(concat(vectors.halfembedding_send(h), vectors.sparseembedding_send(s)), '' ORDER BY id)) FROM item};
my $search = q{SET enable_seqscan = off; SELECT string_agg(id::text, ' ') FROM (SELECT id FROM item WHERE id < 200 ORDER BY h OPERATOR(vectors.<->) (SELECT h FROM item WHERE id = 5) LIMIT 10) s};
my @want = map { sql($_) } $rows, $bits, $search;
like($want[2], qr/^5 /, 'a search finds the row itself first');

my @dump = ($node->installed_command('pg_dump'), '-d', $node->connstr('postgres'));
sql('CREATE DATABASE plain');
$node->command_ok([ @dump, '-f', "$folder/plain.sql" ], 'dump');
$node->command_ok([ $node->installed_command('psql'), '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plain'), '-f', "$folder/plain.sql" ], 'restore');
sql('CREATE DATABASE custom');
$node->command_ok([ @dump, '-Fc', '-f', "$folder/custom" ], 'dump, custom format');
$node->command_ok([ $node->installed_command('pg_restore'), '-e', '-j2', '-d', $node->connstr('custom'), "$folder/custom" ], 'restore, two jobs');
for my $database (qw(plain custom))
{
	is(sql($rows, $database), $want[0], "$database: the same rows");
	is(sql($bits, $database), $want[1], "$database: the same bits");
	is(sql($search, $database), $want[2], "$database: the same answer");
	is(sql(q{SELECT count(*) FROM vectors.ds_index_check('item_h')}, $database), '0', "$database: the index is whole");
}

# COPY in binary form
sql(qq{COPY item (id, e, h, s) TO '$folder/binary' (FORMAT binary)});
sql(q{CREATE TABLE original AS SELECT * FROM item; TRUNCATE item});
sql(qq{COPY item (id, e, h, s) FROM '$folder/binary' (FORMAT binary)});
is(sql($rows), $want[0], 'COPY, binary: the same rows');
is(sql($bits), $want[1], 'COPY, binary: the same bits');
is(sql($search), $want[2], 'COPY, binary: the same answer');
done_testing();
