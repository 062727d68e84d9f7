# Networks over pictures with real weights: what ResNet-20 sees on the pictures that it was tested with, and both towers
# of an OpenCLIP folder.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Shop;

my $data = $ENV{DS_SHARED_DATA} // '';
my $resnet = "$data/models/resnet-cifar10";
my $clip = "$data/models/tiny-openclip-random";
plan skip_all => "needs the data of $resnet (DS_SHARED_DATA)" unless -r "$resnet/test-images.tsv.gz" && -r "$clip/open_clip_model.safetensors";

my $node = Shop::node('image');
my $models = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]") }
system('cp', '-r', $resnet, $clip, $models) == 0 or die 'cp';
system('chmod', '-R', 'a+rX', $models);

sql('CREATE EXTENSION deepsearch; CREATE TABLE pictures (id serial PRIMARY KEY, class int, name text, file bytea, scores embedding(10), emb embedding(64))');
open my $gz, '-|', 'gzip', '-dc', "$resnet/test-images.tsv.gz" or die;
my $pictures = do { local $/; <$gz> };
close $gz;
{
	open my $out, '>', "$models/pictures.tsv" or die;
	print $out $pictures;
	close $out;
	chmod 0644, "$models/pictures.tsv";
}
sql("COPY pictures (class, name, file) FROM '$models/pictures.tsv'");
sql("SELECT ds_import_model('classes', '$models/resnet-cifar10/resnet20.safetensors', '{\"output\": \"classes\"}')");
sql("SELECT ds_import_model('features', '$models/resnet-cifar10/resnet20.safetensors')");
sql("SELECT ds_import_model('deep', '$models/resnet-cifar10/resnet56.safetensors')");
is(sql('SELECT name, family, dims FROM ds_models ORDER BY name'), "classes|resnet|10\ndeep|resnet|64\nfeatures|resnet|64", 'depth and form by the names of tensors');

sql("CALL ds_encode_table('pictures', 'file', 'scores', 'classes')");
my $right = 'SELECT round(100 * avg((class = (SELECT i - 1 FROM unnest(scores::real[]) WITH ORDINALITY u(x, i) ORDER BY x DESC LIMIT 1))::int), 2) FROM pictures';
my $top = sql($right);
cmp_ok(abs($top - 81.03), '<', 0.05, "ResNet-20 is right on $top % (PyTorch: 81.03 %)");

# the classifier is a dense layer on the features
sql("CALL ds_encode_table('pictures', 'file', 'emb', 'features') ");
is(sql('SELECT count(*) FROM pictures WHERE emb IS NULL OR ds_norm(emb) = 0'), '0', 'each picture has features');
my $same = sql(q{SELECT avg((a.class = b.class)::int) FROM (SELECT * FROM pictures WHERE id % 500 = 0) a
	CROSS JOIN LATERAL (SELECT class FROM pictures c WHERE c.id <> a.id ORDER BY c.emb <=> a.emb LIMIT 10) b});
cmp_ok($same, '>', 0.6, "the ten nearest pictures are of the same class in $same of cases");

# a batch, workers, and one by one: the same to the bit
sql(q{CREATE TABLE few AS SELECT id, file, NULL::embedding(64) AS emb FROM pictures WHERE id <= 300;
	CALL ds_encode_table('few', 'file', 'emb', 'features', options => '{"workers": 2}')});
is(sql(q{SELECT count(*) FROM few JOIN pictures p USING (id) WHERE few.emb = p.emb AND p.emb = ds_encode(p.file, 'features')}), '300',
	'alone, in a batch, by workers: the same');

# --- texts and pictures in one model ---
sql("SELECT ds_import_model('clip', '$models/tiny-openclip-random')");
is(sql(q{SELECT family, dims, parameters FROM ds_models WHERE name = 'clip'}), 'open_clip|16|32480', 'both towers of an OpenCLIP folder');
is(sql(q{SELECT ds_dims(ds_encode('a photo', 'clip')), ds_dims(ds_encode(file, 'clip')), ds_encode('a photo', 'clip') <=> ds_encode(file, 'clip') BETWEEN 0 AND 2
	FROM pictures WHERE id = 1}), '16|16|t', 'a text and a picture can be compared');
is(sql(q{SELECT count(*) FROM ds_tensor t JOIN ds_model m ON m.id = t.model WHERE m.name = 'clip' AND t.name LIKE 'image.%'}), '20', 'its tensors are in the tables');

# --- a long encoding can be stopped, and a bad picture leaves a row without embedding ---
sql(q{UPDATE few SET emb = NULL; UPDATE few SET file = substr(file, 1, 200) WHERE id IN (5, 250)});
my (undef, undef, $error) = $node->psql('postgres', "CALL ds_encode_table('few', 'file', 'emb', 'features')");
like($error, qr/the JPEG is cut off/, 'a cut picture is an error');
(undef, undef, $error) = $node->psql('postgres', q{CALL ds_encode_table('few', 'file', 'emb', 'features', options => '{"on_error": "null"}')});
like($error, qr/WARNING:  2 pictures could not be read/, 'or a warning');
is(sql('SELECT string_agg(id::text, \' \' ORDER BY id) FROM few WHERE emb IS NULL'), '5 250', 'and no embedding');
(undef, undef, $error) = $node->psql('postgres', q{SET statement_timeout = '200ms'; CALL ds_encode_table('pictures', 'file', 'emb', 'deep', options => '{"all": true, "workers": 1}')});
like($error, qr/statement timeout/, 'stopped');

$node->stop;
done_testing();
