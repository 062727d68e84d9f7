/*
 * shared.c
 *		A model version's weights in a file that all processes map.
 *
 * Where.  deepsearch/ in the data directory.  Names begin with "pgsql_tmp",
 * which is how base backups and pg_rewind know what to leave out, in any
 * folder; the server itself removes such names at its start in its own folders
 * of temporary files only.  A name has the database, the model, the version
 * and the version's uid:
 *
 *	   deepsearch/pgsql_tmp_ds_16384_3_7_0f3c...e1		mode 0600
 *
 * The uid is random and goes with the row of ds_model_version.  Numbers alone
 * are not enough: a transaction that rolls back gives them away again, a new
 * CREATE EXTENSION counts from 1, a promoted standby goes on with another
 * history.
 *
 * How.  The file is written beside under the name of its process, synced, and
 * renamed; its content never changes after that.  So a process that maps it
 * has it whole, however long, and whoever removes it takes nothing from those.
 * Removing one too many is harmless: it is made again.  Making needs nothing
 * but reading tables, and so works in a read-only transaction and on a
 * standby.
 *
 * Trust.  A crash of the machine, or a copied data directory, may leave a file
 * that is damaged behind a good name.  The first process that opens it after
 * the server's start reads all of it once and compares the checksum.  It
 * writes down that it did by setting the file's modification time to the time
 * of the server's start: to the microsecond, so that it is neither an earlier
 * start's nor chance, and any later write to the file undoes it.
 *
 * Where no file can be written (disk full, read-only) the same layout is made
 * in memory of the process.
 */
#include "model/shared.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define FOLDER "deepsearch"
#define PREFIX "pgsql_tmp_ds_"
#define MAGIC "DSWEIGHT"
#define FORMAT 1
#define ALIGNMENT 64
#define CHECK_BYTES ((size_t) 1 << 20) /* between two questions whether to stop */
#define LOCK_CLASS 44499 /* objsubid in pg_locks; the SQL functions use 1 and 2 */

typedef struct Header
{
	char magic[8];
	uint32 format;
	pg_crc32c header_crc; /* of what follows in the header */
	uint64 size;
	pg_crc32c data_crc; /* of what follows the header */
	int32 section_count;
	Oid database;
	int32 model;
	int32 version;
	pg_uuid_t uid;
	char packing[DS_PACKING_SIZE];
	DsSection sections[DS_SECTIONS_MAX];
} Header;

#define HEADER_SIZE 8192
StaticAssertDecl(sizeof(Header) <= HEADER_SIZE, "the header has its room");

struct DsSharedBuild
{
	DsSharedKey key;
	char *base;
	size_t size;
	int fd; /* -1: memory */
	char path[MAXPGPATH]; /* what is being written */
	bool done;
};

/* ---- names ---- */

static void
file_name(const DsSharedKey *key, char *path)
{
	int n = snprintf(path, MAXPGPATH, FOLDER "/" PREFIX "%u_%d_%d_", key->database, key->model,
					 key->version);

	for (int i = 0; i < UUID_LEN; i++)
		n += snprintf(path + n, MAXPGPATH - n, "%02x", key->uid.data[i]);
}

/* Which file is this?  *pid is 0 for a finished one.  false: none of ours. */
static bool
parse_name(const char *name, DsSharedKey *key, int *pid)
{
	int n = 0;
	unsigned digit;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return false;
	name += strlen(PREFIX);
	if (sscanf(name, "%u_%d_%d_%n", &key->database, &key->model, &key->version, &n) != 3 || n == 0)
		return false;
	name += n;
	for (int i = 0; i < UUID_LEN; i++, name += 2)
	{
		if (strspn(name, "0123456789abcdef") < 2 || sscanf(name, "%2x", &digit) != 1)
			return false;
		key->uid.data[i] = (unsigned char) digit;
	}
	*pid = 0;
	return *name == '\0' || sscanf(name, ".%d", pid) == 1;
}

/* ---- mapping ---- */

typedef struct Mapping
{
	MemoryContextCallback callback;
	void *base;
	size_t size;
} Mapping;

static void
unmap(void *argument)
{
	Mapping *mapping = argument;

	munmap(mapping->base, mapping->size);
}

/* From here on the mapping lives as long as the context. */
static void
keep_mapping(Mapping *mapping, void *base, size_t size, MemoryContext context, DsShared *shared)
{
	const Header *header = base;

	mapping->base = base;
	mapping->size = size;
	mapping->callback.func = unmap;
	mapping->callback.arg = mapping;
	MemoryContextRegisterResetCallback(context, &mapping->callback);
	shared->base = base;
	shared->size = size;
	shared->section_count = header->section_count;
	shared->sections = header->sections;
}

static pg_crc32c
header_crc(const Header *header)
{
	size_t begin = offsetof(Header, header_crc) + sizeof(header->header_crc);
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, (const char *) header + begin, sizeof(Header) - begin);
	FIN_CRC32C(crc);
	return crc;
}

static pg_crc32c
data_crc(const char *base, size_t size)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	for (size_t at = HEADER_SIZE; at < size; at += CHECK_BYTES)
	{
		COMP_CRC32C(crc, base + at, Min(size - at, CHECK_BYTES));
		CHECK_FOR_INTERRUPTS();
	}
	FIN_CRC32C(crc);
	return crc;
}

/* the server's start, as a time of a file */
static struct timespec
start_time(void)
{
	int64 microseconds =
		PgStartTime + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	struct timespec time = {.tv_sec = (time_t) (microseconds / USECS_PER_SEC),
							.tv_nsec = (long) (microseconds % USECS_PER_SEC) * 1000};

	return time;
}

static bool
verified_since_start(const struct stat *stat)
{
	struct timespec start = start_time();

	return PgStartTime != 0 && stat->st_mtim.tv_sec == start.tv_sec &&
		   stat->st_mtim.tv_nsec == start.tv_nsec;
}

static void
set_verified(int fd)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, start_time()};

	/* should it fail, the next one reads the file once more */
	(void) futimens(fd, times);
}

static bool
header_is_good(const Header *header, size_t size, const DsSharedKey *key)
{
	if (memcmp(header->magic, MAGIC, sizeof(header->magic)) != 0 || header->format != FORMAT ||
		header->header_crc != header_crc(header) || header->size != size)
		return false;
	if (header->database != key->database || header->model != key->model ||
		header->version != key->version || memcmp(&header->uid, &key->uid, sizeof(key->uid)) != 0 ||
		strncmp(header->packing, key->packing, DS_PACKING_SIZE) != 0)
		return false;
	if (header->section_count < 0 || header->section_count > DS_SECTIONS_MAX)
		return false;
	for (int i = 0; i < header->section_count; i++)
		if (header->sections[i].offset < HEADER_SIZE || header->sections[i].offset > size ||
			header->sections[i].size > size - header->sections[i].offset)
			return false;
	return true;
}

bool
ds_shared_map(const DsSharedKey *key, MemoryContext context, DsShared *shared)
{
	Mapping *mapping = MemoryContextAlloc(context, sizeof(Mapping));
	char path[MAXPGPATH];
	struct stat stat;
	void *base = MAP_FAILED;
	size_t size = 0;
	int fd;

	file_name(key, path);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size >= HEADER_SIZE)
	{
		size = (size_t) stat.st_size;
		base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	}
	if (base == MAP_FAILED)
	{
		if (fd >= 0)
			CloseTransientFile(fd);
		pfree(mapping);
		return false;
	}
	/* an interrupt while the checksum is computed frees it with the context */
	keep_mapping(mapping, base, size, context, shared);
	shared->is_file = true;
	if (!header_is_good(base, size, key) ||
		(!verified_since_start(&stat) && data_crc(base, size) != ((const Header *) base)->data_crc))
	{
		/* the caller makes a good one, and the context's end unmaps this one */
		ereport(LOG, (errmsg("file \"%s\" is damaged or foreign, and will be made again", path)));
		CloseTransientFile(fd);
		return false;
	}
	if (!verified_since_start(&stat))
		set_verified(fd);
	CloseTransientFile(fd);
	return true;
}

const DsSection *
ds_shared_section(const DsShared *shared, const char *name)
{
	for (int i = 0; i < shared->section_count; i++)
		if (strncmp(shared->sections[i].name, name, DS_SECTION_NAME) == 0)
			return &shared->sections[i];
	return NULL;
}

/* ---- making ---- */

/* An advisory lock of a class of its own: object locks of this strength are refused on a standby. */
static void
lock_tag(const DsSharedKey *key, LOCKTAG *tag)
{
	uint32 words[2];

	memcpy(words, key->uid.data, sizeof(words));
	SET_LOCKTAG_ADVISORY(*tag, key->database, words[0], words[1], LOCK_CLASS);
}

void
ds_shared_lock(const DsSharedKey *key)
{
	LOCKTAG tag;

	lock_tag(key, &tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

void
ds_shared_unlock(const DsSharedKey *key)
{
	LOCKTAG tag;

	lock_tag(key, &tag);
	(void) LockRelease(&tag, ExclusiveLock, false);
}

static void
abandon(void *argument)
{
	DsSharedBuild *build = argument;

	/* an error has closed the file descriptor, or will */
	if (!build->done && build->path[0] != '\0')
		(void) unlink(build->path);
}

/* A file of that size, mapped for writing; NULL, with errno, where that is not possible. */
static char *
create_file(DsSharedBuild *build)
{
	char final[MAXPGPATH];
	void *base;
	int result;

	if (MakePGDirectory(FOLDER) != 0 && errno != EEXIST)
		return NULL;
	file_name(&build->key, final);
	/* workers of one query do not keep each other out by locks */
	snprintf(build->path, MAXPGPATH, "%s.%d", final, MyProcPid);
	(void) unlink(build->path);
	build->fd = OpenTransientFilePerm(build->path, O_RDWR | O_CREAT | O_EXCL | PG_BINARY, 0600);
	if (build->fd < 0)
	{
		build->path[0] = '\0';
		return NULL;
	}
	/* all of the disk space now: a page that has none when it is written kills the process */
	do
		result = posix_fallocate(build->fd, 0, (off_t) build->size);
	while (result == EINTR && !ds_cancelled(&ds_server_cancel));
	base = result == 0 ? mmap(NULL, build->size, PROT_READ | PROT_WRITE, MAP_SHARED, build->fd, 0)
					   : MAP_FAILED;
	if (base == MAP_FAILED)
	{
		if (result == 0)
			result = errno;
		CloseTransientFile(build->fd);
		build->fd = -1;
		(void) unlink(build->path);
		build->path[0] = '\0';
		CHECK_FOR_INTERRUPTS();
		errno = result;
		return NULL;
	}
	return base;
}

static void
out_of_memory(size_t bytes)
{
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					errdetail("The weights of the model need %zu bytes.", bytes)));
}

DsSharedBuild *
ds_shared_begin(const DsSharedKey *key, const DsSection *sections, int count, MemoryContext context,
				DsShared *shared)
{
	DsSharedBuild *build = palloc0(sizeof(DsSharedBuild));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	Mapping *mapping = MemoryContextAlloc(context, sizeof(Mapping));
	size_t size = HEADER_SIZE;
	Header *header;

	if (count > DS_SECTIONS_MAX)
		elog(ERROR, "too many sections: %d", count);
	for (int i = 0; i < count; i++)
		if (!ds_size_add(size, sections[i].size, &size) ||
			!ds_size_add(size, ALIGNMENT - 1, &size) || size > (size_t) PG_INT64_MAX)
			out_of_memory(SIZE_MAX);
		else
			size = TYPEALIGN64(ALIGNMENT, size - (ALIGNMENT - 1));
	build->key = *key;
	build->size = size;
	build->fd = -1;
	callback->func = abandon;
	callback->arg = build;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	build->base = create_file(build);
	shared->is_file = build->base != NULL;
	if (build->base == NULL)
	{
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not write a file of %zu bytes in \"%s\": %m", size, FOLDER),
					  errdetail("Each process keeps its own copy of model %d version %d.",
								key->model, key->version)));
		build->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (build->base == MAP_FAILED)
			out_of_memory(size);
	}
	header = (Header *) build->base;
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	header->format = FORMAT;
	header->size = size;
	header->section_count = count;
	header->database = key->database;
	header->model = key->model;
	header->version = key->version;
	header->uid = key->uid;
	strlcpy(header->packing, key->packing, DS_PACKING_SIZE);
	size = HEADER_SIZE;
	for (int i = 0; i < count; i++)
	{
		header->sections[i] = sections[i];
		header->sections[i].offset = size;
		size = TYPEALIGN64(ALIGNMENT, size + sections[i].size);
	}
	keep_mapping(mapping, build->base, build->size, context, shared);
	return build;
}

char *
ds_shared_writable(DsSharedBuild *build, const DsSection *section)
{
	return build->base + section->offset;
}

void
ds_shared_finish(DsSharedBuild *build)
{
	Header *header = (Header *) build->base;
	char final[MAXPGPATH];

	if (build->fd >= 0)
	{
		header->data_crc = data_crc(build->base, build->size);
		header->header_crc = header_crc(header);
		if (msync(build->base, build->size, MS_SYNC) != 0 || pg_fsync(build->fd) != 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not fsync file \"%s\": %m", build->path)));
		set_verified(build->fd);
		CloseTransientFile(build->fd);
		build->fd = -1;
		file_name(&build->key, final);
		/* should someone have removed it meanwhile, this process has it, and the next makes another */
		if (rename(build->path, final) != 0)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not rename file \"%s\" to \"%s\": %m", build->path, final)));
		else
		{
			build->done = true;
			fsync_fname_ext(FOLDER, true, true, LOG);
		}
	}
	/* from here on it is read-only for us, too */
	(void) mprotect(build->base, build->size, PROT_READ);
}

/* ---- removing ---- */

/* Call what for each of our files. */
static void
for_each_file(void (*what)(const char *path, const DsSharedKey *key, int pid, void *context),
			  void *context)
{
	DIR *dir = opendir(FOLDER);
	struct dirent *entry;

	/* not AllocateDir(): this runs where a transaction ends, and must not fail there */
	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		DsSharedKey key;
		int pid;
		char path[MAXPGPATH];

		if (!parse_name(entry->d_name, &key, &pid))
			continue;
		snprintf(path, MAXPGPATH, FOLDER "/%s", entry->d_name);
		what(path, &key, pid, context);
	}
	closedir(dir);
}

static void
unlink_version(const char *path, const DsSharedKey *key, int pid, void *context)
{
	const DsSharedKey *wanted = context;

	if (pid == 0 && key->database == wanted->database && key->model == wanted->model &&
		(wanted->version == 0 || key->version == wanted->version))
		(void) unlink(path);
}

void
ds_shared_unlink(Oid database, int32 model, int32 version)
{
	DsSharedKey wanted = {.database = database, .model = model, .version = version};

	for_each_file(unlink_version, &wanted);
}

/* What the end of the transaction removes; beyond so many, sweeping will. */
#define PENDING_MAX 64

typedef struct Pending
{
	int32 model;
	int32 version;
	bool dropped; /* or written */
} Pending;

static Pending pending[PENDING_MAX];
static int pending_count = 0;

static void
add_pending(int32 model, int32 version, bool dropped)
{
	if (pending_count < PENDING_MAX)
		pending[pending_count++] = (Pending){model, version, dropped};
}

void
ds_shared_dropped(int32 model, int32 version)
{
	add_pending(model, version, true);
}

void
ds_shared_written(int32 model, int32 version)
{
	add_pending(model, version, false);
}

static void
transaction_ended(XactEvent event, void *argument pg_attribute_unused())
{
	bool commit = event == XACT_EVENT_COMMIT;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event != XACT_EVENT_PREPARE)
		for (int i = 0; i < pending_count; i++)
			if (pending[i].dropped == commit)
				ds_shared_unlink(MyDatabaseId, pending[i].model, pending[i].version);
	pending_count = 0;
}

static void
collect_file(const char *path, const DsSharedKey *key pg_attribute_unused(),
			 int pid pg_attribute_unused(), void *context)
{
	List **paths = context;

	*paths = lappend(*paths, pstrdup(path));
}

void
ds_shared_sweep(bool (*exists)(int32 model, int32 version, const pg_uuid_t *uid, void *context),
				void *context)
{
	List *paths = NIL;
	ListCell *cell;

	/* the questions below may fail, and an open folder would be left */
	for_each_file(collect_file, &paths);
	foreach (cell, paths)
	{
		const char *path = lfirst(cell);
		DsSharedKey key;
		int pid;
		bool keep;

		if (!parse_name(path + strlen(FOLDER "/"), &key, &pid))
			continue;
		if (pid != 0)
			keep = BackendPidGetProc(pid) != NULL;
		else if (key.database == MyDatabaseId)
			keep = exists(key.model, key.version, &key.uid, context);
		else
			keep = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(key.database));
		if (!keep)
			(void) unlink(path);
	}
	list_free_deep(paths);
}

void
ds_init_shared(void)
{
	RegisterXactCallback(transaction_ended, NULL);
}
