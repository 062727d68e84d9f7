# pg_rewind: a server that was the primary answers as the new one does, whatever files of weights it has.
use strict;
use warnings;

use Test::More;
BEGIN
{
	eval { require PostgreSQL::Test::Cluster; require PostgreSQL::Test::Utils; 1 }
	  or plan skip_all => 'needs the server\'s test modules (PostgreSQL 15 and later)';
}
use File::Copy;
use Model;

my $node = PostgreSQL::Test::Cluster->new('old');
$node->init(extra => [ '--encoding=UTF8', '--locale=C', '--data-checksums' ], allows_streaming => 1);
$node->append_conf('postgresql.conf', "autovacuum = off\nwal_keep_size = 64MB\n");
$node->start;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $encode = "SELECT ds_encode('red dresses', 'm')";
sub import_into
{
	my ($server, $name) = @_;
	Model::static("$folder/$name", 8); # other numbers each time
	$server->safe_psql('postgres', "SET client_min_messages = warning; SELECT ds_import_model('m', '$folder/$name', '{\"replace\": true}')");
	return $server->safe_psql('postgres', $encode);
}
sub files { my ($server) = @_; return glob $server->data_dir . '/deepsearch/pgsql_tmp_ds_*' }

$node->safe_psql('postgres', 'CREATE EXTENSION deepsearch');
my $first = import_into($node, 'first');
$node->backup('copy');
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init_from_backup($node, 'copy', has_streaming => 1);
is(scalar(() = files($new)), 0, 'no file of weights in a base backup');
$new->start;
$node->wait_for_catchup($new, 'replay', $node->lsn('insert'));
is($new->safe_psql('postgres', $encode), $first, 'the standby answers');
$new->promote;

# both make a second version, under the same number
my $lost = import_into($node, 'lost');
my $kept = import_into($new, 'kept');
isnt($lost, $kept, 'two histories');
my ($file) = grep { /_1_2_/ } files($node);
copy($file, "$folder/lost_file") or die;
$node->stop;
$new->stop; # the rewound server reads the files of the new one
$node->command_ok([ $node->installed_command('pg_rewind'), '--source-pgdata', $new->data_dir, '--target-pgdata', $node->data_dir ], 'pg_rewind');
is(scalar(() = files($node)), 0, 'takes the files of weights away');
# those of the other history, under their own name and under that of the version that won
my ($name) = grep { /_1_2_/ } files($new);
$name =~ s,.*/,,;
mkdir $node->data_dir . '/deepsearch';
copy("$folder/lost_file", $file) or die;
copy("$folder/lost_file", $node->data_dir . "/deepsearch/$name") or die;
unlink $node->data_dir . '/standby.signal', $node->data_dir . '/recovery.signal';
$node->append_conf('postgresql.conf', 'port = ' . $node->port);
$node->start;
is($node->safe_psql('postgres', $encode), $kept, 'the old primary answers as the new one');
is(join(' ', map { s,.*/,,r } grep { /_1_2_/ } files($node)), $name, 'by a file that it has made itself');
$node->stop;
done_testing();
