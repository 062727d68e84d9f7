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
#define BUFFER_SIZE ((size_t) 1 << 18)
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
	Header *header;
	size_t size;
	size_t filled; /* of the file, header included */
	int section; /* that is being filled */
	pg_crc32c crc;
	int fd; /* -1: memory */
	char *memory;
	char path[MAXPGPATH]; /* what is being written; "": nothing, or no longer */
	char *buffer;
	size_t buffered;
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
	if (build->path[0] != '\0')
		(void) unlink(build->path);
}

/* false, with errno, where no file can be made */
static bool
create_file(DsSharedBuild *build)
{
	char final[MAXPGPATH];

	if (MakePGDirectory(FOLDER) != 0 && errno != EEXIST)
		return false;
	file_name(&build->key, final);
	/* workers of one query do not keep each other out by locks */
	snprintf(build->path, MAXPGPATH, "%s.%d", final, MyProcPid);
	(void) unlink(build->path);
	build->fd = OpenTransientFilePerm(build->path, O_RDWR | O_CREAT | O_EXCL | PG_BINARY, 0600);
	if (build->fd < 0)
		build->path[0] = '\0';
	return build->fd >= 0;
}

static bool
write_at(int fd, const char *bytes, size_t size, size_t at)
{
	while (size > 0)
	{
		ssize_t n;

		errno = 0;
		n = pwrite(fd, bytes, size, (off_t) at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			/* as elsewhere in the server: a write that says nothing has found the disk full */
			if (errno == 0)
				errno = ENOSPC;
			return false;
		}
		bytes += n;
		at += (size_t) n;
		size -= (size_t) n;
	}
	return true;
}

/*
 * No file, or no more of it: go on in memory.  What the file has already is
 * read back from it, so that this can happen at any moment.
 */
static void
turn_to_memory(DsSharedBuild *build)
{
	size_t written = build->filled - build->buffered;

	ereport(LOG, (errcode_for_file_access(),
				  errmsg("could not write a file of %zu bytes in \"%s\": %m", build->size, FOLDER),
				  errdetail("Each process keeps its own copy of model %d version %d.",
							build->key.model, build->key.version)));
	build->memory =
		mmap(NULL, build->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (build->memory == MAP_FAILED)
	{
		build->memory = NULL;
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("The weights of the model need %zu bytes.", build->size)));
	}
	if (build->fd >= 0)
	{
		for (size_t at = HEADER_SIZE; at < written;)
		{
			ssize_t n = pread(build->fd, build->memory + at, written - at, (off_t) at);

			if (n <= 0)
				ereport(ERROR, (errcode_for_file_access(),
								errmsg("could not read file \"%s\": %m", build->path)));
			at += (size_t) n;
		}
		memcpy(build->memory + written, build->buffer, build->buffered);
		CloseTransientFile(build->fd);
		build->fd = -1;
		(void) unlink(build->path);
		build->path[0] = '\0';
	}
	build->buffered = 0;
}

static void
release_memory(void *argument)
{
	DsSharedBuild *build = argument;

	if (build->memory != NULL)
		munmap(build->memory, build->size);
}

DsSharedBuild *
ds_shared_begin(const DsSharedKey *key, const DsSection *sections, int count)
{
	DsSharedBuild *build = palloc0(sizeof(DsSharedBuild));
	MemoryContextCallback *callbacks = palloc(sizeof(MemoryContextCallback) * 2);
	Header *header = palloc0(HEADER_SIZE);
	size_t size = HEADER_SIZE;

	if (count > DS_SECTIONS_MAX)
		elog(ERROR, "too many sections: %d", count);
	for (int i = 0; i < count; i++)
	{
		size_t end;

		if (!ds_size_add(size, sections[i].size, &end) || !ds_size_add(end, ALIGNMENT - 1, &end) ||
			end > (size_t) PG_INT64_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("the model is too large")));
		header->sections[i] = sections[i];
		header->sections[i].offset = size;
		size = end / ALIGNMENT * ALIGNMENT;
	}
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	header->format = FORMAT;
	header->size = size;
	header->section_count = count;
	header->database = key->database;
	header->model = key->model;
	header->version = key->version;
	header->uid = key->uid;
	strlcpy(header->packing, key->packing, DS_PACKING_SIZE);
	build->key = *key;
	build->header = header;
	build->size = size;
	build->filled = HEADER_SIZE;
	build->fd = -1;
	build->buffer = palloc(BUFFER_SIZE);
	INIT_CRC32C(build->crc);
	callbacks[0].func = abandon;
	callbacks[0].arg = build;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &callbacks[0]);
	callbacks[1].func = release_memory;
	callbacks[1].arg = build;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &callbacks[1]);
	if (!create_file(build))
		turn_to_memory(build);
	return build;
}

static void
flush(DsSharedBuild *build)
{
	if (build->buffered == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	if (write_at(build->fd, build->buffer, build->buffered, build->filled - build->buffered))
	{
		COMP_CRC32C(build->crc, build->buffer, build->buffered);
		build->buffered = 0;
	}
	else
		turn_to_memory(build);
}

static void
append(DsSharedBuild *build, const char *bytes, size_t size)
{
	while (size > 0)
	{
		size_t n = Min(size, BUFFER_SIZE - build->buffered);

		if (build->memory != NULL)
		{
			n = size;
			memcpy(build->memory + build->filled, bytes, n);
		}
		else
		{
			memcpy(build->buffer + build->buffered, bytes, n);
			build->buffered += n;
		}
		build->filled += n;
		bytes += n;
		size -= n;
		if (build->buffered == BUFFER_SIZE)
			flush(build);
	}
}

/* zeros up to the place where the next section begins */
static void
pad(DsSharedBuild *build, size_t to)
{
	static const char zeros[ALIGNMENT] = {0};

	Assert(to >= build->filled && to - build->filled < ALIGNMENT);
	append(build, zeros, to - build->filled);
}

void
ds_shared_append(DsSharedBuild *build, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size > 0)
	{
		const DsSection *section = &build->header->sections[build->section];
		size_t n;

		if (build->section >= build->header->section_count)
			elog(ERROR, "more weights than sections");
		if (build->filled < section->offset)
			pad(build, section->offset);
		n = Min(size, section->offset + section->size - build->filled);
		append(build, from, n);
		from += n;
		size -= n;
		if (build->filled == section->offset + section->size)
			build->section++;
	}
}

void
ds_shared_map_build(DsSharedBuild *build, MemoryContext context, DsShared *shared)
{
	Mapping *mapping = MemoryContextAlloc(context, sizeof(Mapping));
	Header *header = build->header;
	void *base;

	while (build->section < header->section_count && header->sections[build->section].size == 0)
		build->section++;
	if (build->section < header->section_count)
		elog(ERROR, "section \"%s\" was not filled", header->sections[build->section].name);
	pad(build, build->size);
	if (build->memory == NULL)
		flush(build);
	if (build->memory == NULL)
	{
		FIN_CRC32C(build->crc);
		header->data_crc = build->crc;
		header->header_crc = header_crc(header);
		if (!write_at(build->fd, (char *) header, HEADER_SIZE, 0))
			turn_to_memory(build);
	}
	shared->is_file = build->memory == NULL;
	if (build->memory != NULL)
	{
		memcpy(build->memory, header, HEADER_SIZE);
		base = build->memory;
		build->memory = NULL;
	}
	else
	{
		base = mmap(NULL, build->size, PROT_READ, MAP_SHARED, build->fd, 0);
		if (base == MAP_FAILED)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not map file \"%s\": %m", build->path)));
	}
	keep_mapping(mapping, base, build->size, context, shared);
}

void
ds_shared_publish(DsSharedBuild *build)
{
	char final[MAXPGPATH];

	if (build->fd < 0)
		return;
	if (pg_fsync(build->fd) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not fsync file \"%s\": %m", build->path)));
	set_verified(build->fd);
	CloseTransientFile(build->fd);
	build->fd = -1;
	file_name(&build->key, final);
	/* should someone have removed it meanwhile, this process has it, and the next makes another */
	if (rename(build->path, final) != 0)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not rename file \"%s\" to \"%s\": %m", build->path, final)));
	else
	{
		build->path[0] = '\0';
		fsync_fname_ext(FOLDER, true, true, LOG);
	}
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
