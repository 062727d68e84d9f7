# A dump restored elsewhere answers as the original; a standby does too; after pg_rewind a server answers as the new primary.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use Model;
use Shop;

my $node = Shop::node('origin', allows_streaming => 1);
my $folder = PostgreSQL::Test::Utils::tempdir();
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

# in a schema that is on no one's path but this database's
sql('CREATE SCHEMA "Semantic search"; CREATE EXTENSION deepsearch SCHEMA "Semantic search"; GRANT USAGE ON SCHEMA "Semantic search" TO PUBLIC');
sql('ALTER DATABASE postgres SET search_path = public, "Semantic search"');
Shop::tables($node);
sql('CREATE ROLE owner; CREATE ROLE reader');
sql("SET ROLE owner; SELECT ds_create_model('shop', '$Shop::CONFIG'); SELECT ds_grant_model('shop', 'reader')");
sql("CALL ds_train('shop', '$Shop::SOURCE'); CALL ds_train('shop', '$Shop::SOURCE', '{\"seed\": 2}')");
# more than one chunk
sql("SELECT ds_create_model('big', '{\"towers\": \"separate\", \"embedding\": {\"dims\": 400}}')");
sql("CALL ds_train('big', 'SELECT query || n, title || n FROM clicks, generate_series(1, 3) n', '{\"epochs\": 1}')");
cmp_ok(sql(q{SELECT max(chunk) FROM ds_tensor}), '>', 0, 'a tensor of several chunks');
is(sql(q{SELECT count(*) FROM ds_tensor WHERE octet_length(data) > 1048576}), '0', 'none longer than 1 MB');
# imported ones
Model::bert("$folder/bert", sentence => 1, prompts => 1);
Model::bert("$folder/cross", classes => 1);
Model::static("$folder/static", 8);
sql("SELECT ds_import_model('bert', '$folder/bert'), ds_import_model('int8', '$folder/bert', '{\"precision\": \"int8\"}'),
	ds_import_model('cross', '$folder/cross'), ds_import_model('static', '$folder/static')");
my $imported = q{SELECT ds_encode('red dresses', 'bert'), ds_encode('red dresses', 'bert', 'document'), ds_encode('red dresses', 'int8'),
	ds_encode('red dresses', 'static'), ds_score('red', 'dress for summer', 'cross'), (SELECT string_agg(token, ' ') FROM ds_tokenize('red dresses', 'bert'))};
my $encoded = sql($imported);
sql("ALTER DATABASE postgres SET deepsearch.model = 'shop'");
sql("CALL ds_encode_table('products', 'title', 'emb')");
sql('CREATE INDEX ON products USING deepsearch (emb)');
my $answers = Shop::answers($node);
my $weights = Shop::weights($node);
my $rest = q{SELECT name, owner, readers, config, dims, version, created FROM ds_model ORDER BY 1; SELECT * FROM ds_model_version ORDER BY 1, 2;
	SELECT * FROM ds_training_run ORDER BY 1; SELECT * FROM ds_training_step ORDER BY 1, 2; SELECT ds_encode('红色', 'big'), ds_encode('红色', 'big', 'document')} . "; $imported";
my $tables = sql($rest);

# --- standby ---
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(Shop::answers($standby), $answers, 'a standby gives the same answers');
is($standby->safe_psql('postgres', $imported), $encoded, 'by imported models, too');
my ($status, $out, $err) = $standby->psql('postgres', "CALL ds_train('shop', '$Shop::SOURCE')");
like($err, qr/cannot execute ds_train\(\) in a read-only transaction/, 'and does not train');
my $session = $standby->background_psql('postgres');
my $one = "SELECT ds_encode('红色', 'big')::text;";
my $old = $session->query_safe($one);
sql("CALL ds_train('big', '$Shop::SOURCE', '{\"epochs\": 1, \"seed\": 3, \"keep_versions\": 1}')");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
isnt($session->query_safe($one), $old, 'a session on a standby sees the new version');
is($session->query_safe($one), sql($one), 'as the primary has it');
sql("SELECT ds_import_model('bert', '$folder/static', '{\"replace\": true}')");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $other_bert = q{SELECT ds_encode('red dresses', 'bert')::text;};
is($session->query_safe($other_bert), sql($other_bert), 'a model that was imported meanwhile');
sql("SELECT ds_import_model('bert', '$folder/bert', '{\"replace\": true}')");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($session->query_safe($imported . ';'), $encoded, 'and back');
$standby->promote;
is($session->query_safe($imported . ';'), $encoded, 'a session that saw the promotion');
is($standby->safe_psql('postgres', "SET client_min_messages = warning; SELECT ds_import_model('later', '$folder/static'); SELECT ds_dims(ds_encode('red', 'later'))"), "\n8", 'which imports now');
$session->quit;
$standby->stop;
$weights = Shop::weights($node);
$tables = sql($rest);

# --- pg_dump, in each format, whole and in parts ---
my @dump = ($node->installed_command('pg_dump'), '-d', $node->connstr('postgres'));
my $target = 0;
sub restored
{
	my ($how, @commands) = @_;
	my $database = 'restored' . ++$target;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	for my $command (@commands)
	{
		my @command = map { $_ eq 'TARGET' ? $node->connstr($database) : $_ } @$command;
		$node->command_ok(\@command, "$how: " . ($command[0] =~ s,.*/,,r));
	}
	sql(qq{ALTER DATABASE $database SET search_path = public, "Semantic search"; ALTER DATABASE $database SET deepsearch.model = 'shop'});
	is(Shop::answers($node, $database), $answers, "$how: the same answers");
	is(Shop::weights($node, $database), $weights, "$how: the same weights");
	is(sql($rest, $database), $tables, "$how: the same models, versions and runs");
	return $database;
}

my @psql = ($node->installed_command('psql'), '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'TARGET', '-f');
my $database = restored('plain', [ @dump, '-f', "$file.sql" ], [ @psql, "$file.sql" ]);
# what the dump says goes on from there
is(sql("CALL ds_train('shop', '$Shop::SOURCE', '{\"epochs\": 1}'); SELECT version FROM ds_models WHERE name = 'shop'", $database), '3', 'training goes on');
is(sql("SELECT ds_create_model('third'); SELECT count(*), max(id) FROM ds_model", $database), "\n7|7", 'new models get new numbers');
is(sql("SET ROLE reader; SELECT ds_dims(ds_encode('红色', 'shop'))", $database), '24', 'the access list came along');
($status, $out, $err) = $node->psql($database, "SET ROLE reader; SELECT ds_encode('红色', 'big')");
like($err, qr/permission denied for model "big"/, 'and no more than it');
restored('custom, four jobs', [ @dump, '-Fc', '-f', "$file.custom" ],
	[ $node->installed_command('pg_restore'), '-e', '-j4', '-d', 'TARGET', "$file.custom" ]);
restored('schema, then data', [ @dump, '--schema-only', '-f', "$file.schema" ], [ @dump, '--data-only', '-f', "$file.data" ],
	[ @psql, "$file.schema" ], [ @psql, "$file.data" ]);

# --- into a server that lacks the roles: models are not lost ---
my $other = PostgreSQL::Test::Cluster->new('elsewhere');
$other->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$other->start;
$other->command_ok([ map { $_ eq 'TARGET' ? $other->connstr('postgres') : $_ } @psql, "$file.sql" ], 'restored elsewhere');
$other->safe_psql('postgres', q{ALTER DATABASE postgres SET search_path = public, "Semantic search"; ALTER DATABASE postgres SET deepsearch.model = 'shop'});
is(Shop::answers($other), $answers, 'the same answers elsewhere');
is($other->safe_psql('postgres', $imported), $encoded, 'by imported models, too');

# --- the extension goes and comes ---
sql('DROP EXTENSION deepsearch CASCADE; CREATE EXTENSION deepsearch SCHEMA public');
is(sql('SELECT count(*) FROM ds_models'), '0', 'a new extension has no models');
$node->stop;
$other->stop;
done_testing();
