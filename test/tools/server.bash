# A private server for the demo, the tests and the benchmarks.  Source this.
#
# Works as root (the server then runs as an unprivileged user, because
# PostgreSQL refuses root) and as an ordinary user (who may not write into the
# server's folders).  For both, a private copy of the server's tree is the
# prefix: PostgreSQL finds its libraries and its share folder relative to its
# executable, so only the executables are real copies and the rest are links,
# with the extension added.
#
#   ds_work_open              make $DS_WORK, owned by the server's user; removed at exit
#   ds_prefix_make            build the prefix with the extension in $DS_WORK; sets $DS_BIN
#   ds_server_start [line...] start a cluster there with these lines of configuration
#   ds_server_restart, ds_server_stop
#   ds_psql ARGS              psql as the superuser of that cluster
#   ds_as_user COMMAND        run something as the server's user
#
# PG_CONFIG chooses the server (default: pg_config).

DS_TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
DS_PG_CONFIG=${PG_CONFIG:-pg_config}

if [ "$(id -u)" = 0 ]; then
	if id postgres >/dev/null 2>&1; then DS_USER=postgres; else DS_USER=nobody; fi
else
	DS_USER=$(id -un)
fi

# The current folder may be closed to the server's user, so everything runs in $DS_WORK.
ds_as_user() {
	if [ "$(id -u)" = 0 ]; then
		(cd "$DS_WORK" && HOME=$DS_WORK setpriv --reuid="$DS_USER" --regid="$(id -g "$DS_USER")" --init-groups -- "$@")
	else
		(cd "$DS_WORK" && "$@")
	fi
}

ds_work_open() {
	DS_WORK=$(mktemp -d "${TMPDIR:-/tmp}/deepsearch.XXXXXX")
	# readable by the person who runs this, and by the server's user
	chmod 755 "$DS_WORK"
	[ "$(id -u)" != 0 ] || chown "$DS_USER" "$DS_WORK"
	trap ds_work_close EXIT
	trap 'exit 130' INT TERM HUP
}

ds_work_close() {
	ds_server_stop >/dev/null 2>&1 || true
	case ${DS_WORK:-} in */deepsearch.*) rm -rf "$DS_WORK" ;; esac
}

# link_tree FROM TO: TO becomes a folder of links to the entries of FROM
link_tree() {
	mkdir -p "$2"
	find "$1" -mindepth 1 -maxdepth 1 -exec ln -s -t "$2" {} +
}

ds_prefix_make() {
	local bin lib share common
	bin=$("$DS_PG_CONFIG" --bindir) lib=$("$DS_PG_CONFIG" --pkglibdir) share=$("$DS_PG_CONFIG" --sharedir)
	# the folder that bin and share have in common moves to the prefix
	common=$bin
	while [ "${share#"$common"/}" = "$share" ] || [ "${lib#"$common"/}" = "$lib" ]; do common=${common%/*}; done
	DS_PREFIX=$DS_WORK/prefix
	DS_BIN=$DS_PREFIX${bin#"$common"}
	DS_LIB=$DS_PREFIX${lib#"$common"}
	DS_SHARE=$DS_PREFIX${share#"$common"}
	mkdir -p "$DS_BIN"
	cp -L "$bin"/* "$DS_BIN/"
	link_tree "$lib" "$DS_LIB"
	link_tree "$share" "$DS_SHARE"
	rm "$DS_SHARE/extension"
	link_tree "$share/extension" "$DS_SHARE/extension"
	rm -f "$DS_LIB/deepsearch.so" "$DS_SHARE"/extension/deepsearch*
	cp "$DS_TREE/deepsearch.so" "$DS_LIB/"
	cp "$DS_TREE/deepsearch.control" "$DS_TREE"/deepsearch--*.sql "$DS_SHARE/extension/"
	[ "$(id -u)" != 0 ] || chown -R "$DS_USER" "$DS_PREFIX"
}

ds_server_start() {
	DS_DATA=$DS_WORK/data
	# a socket's path may have 107 bytes: keep it short
	DS_SOCKET=$DS_WORK
	ds_as_user "$DS_BIN/initdb" -D "$DS_DATA" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$DS_WORK/initdb.log"
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$DS_SOCKET'"
		echo "fsync = off"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >>"$DS_DATA/postgresql.conf"
	ds_as_user "$DS_BIN/pg_ctl" -D "$DS_DATA" -l "$DS_WORK/server.log" -w -s start
	export PGHOST=$DS_SOCKET PGUSER=postgres PGDATABASE=postgres PGPORT=5432 PGCLIENTENCODING=UTF8
}

ds_server_restart() {
	ds_as_user "$DS_BIN/pg_ctl" -D "$DS_DATA" -l "$DS_WORK/server.log" -w -s -m fast restart
}

ds_server_stop() {
	[ -z "${DS_DATA:-}" ] || ! [ -f "$DS_DATA/postmaster.pid" ] ||
		ds_as_user "$DS_BIN/pg_ctl" -D "$DS_DATA" -w -s -m immediate stop
}

ds_psql() {
	"$DS_BIN/psql" -X -q -v ON_ERROR_STOP=1 "$@"
}
