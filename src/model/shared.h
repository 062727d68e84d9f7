/*
 * shared.h
 *		A model version's weights in a file that all processes map.
 *
 * The tables have the truth; the file is a cache of one version, laid out so
 * that it is used where it lies: sections of bytes at multiples of 64, with a
 * directory in front.  Whoever finds none, or not a good one, makes it.
 */
#ifndef DS_MODEL_SHARED_H
#define DS_MODEL_SHARED_H

#include "server.h"

#include "utils/uuid.h"

#define DS_SECTION_NAME 48
#define DS_SECTIONS_MAX 64
#define DS_PACKING_SIZE 96

/* Which weights.  uid is new whenever the weights are, so a file can never be taken for another's. */
typedef struct DsSharedKey
{
	Oid database;
	int32 model;
	int32 version;
	pg_uuid_t uid;
	/* what the layout depends on beside the weights: library, processor; "" for nothing */
	char packing[DS_PACKING_SIZE];
} DsSharedKey;

typedef struct DsSection
{
	char name[DS_SECTION_NAME];
	uint64 offset; /* from the beginning of the file */
	uint64 size;
} DsSection;

/* A mapping, which goes with the memory context that it was made for */
typedef struct DsShared
{
	const char *base;
	size_t size;
	int section_count;
	const DsSection *sections;
	bool is_file; /* false: memory of this process, because no file could be written */
} DsShared;

/* false when there is no good file.  Never fails for a bad one. */
extern bool ds_shared_map(const DsSharedKey *key, MemoryContext context, DsShared *shared);

/* NULL when there is no such section */
extern const DsSection *ds_shared_section(const DsShared *shared, const char *name);

/*
 * Making a file.  What is appended fills the sections one after the other, to
 * the byte.  Then it can be mapped, and looked at by the one who made it; with
 * publish it is there for everyone, at once.  An error in between, in the
 * current memory context or above, leaves nothing.  Only one process of a
 * server makes a version's file at a time (ds_shared_lock), the others wait
 * and map it.
 */
typedef struct DsSharedBuild DsSharedBuild;

extern void ds_shared_lock(const DsSharedKey *key);
extern void ds_shared_unlock(const DsSharedKey *key);
/* of sections, name and size are given */
extern DsSharedBuild *ds_shared_begin(const DsSharedKey *key, const DsSection *sections, int count);
extern void ds_shared_append(DsSharedBuild *build, const void *bytes, size_t size);
extern void ds_shared_map_build(DsSharedBuild *build, MemoryContext context, DsShared *shared);
extern void ds_shared_publish(DsSharedBuild *build);

/*
 * Remove the files of a version (0: of all versions) of a model: now, or when
 * the current transaction ends by a commit (dropped) or an abort (written).
 */
extern void ds_shared_unlink(Oid database, int32 model, int32 version);
extern void ds_shared_dropped(int32 model, int32 version);
extern void ds_shared_written(int32 model, int32 version);

/*
 * Remove what belongs to no version: files of databases that are gone, of
 * versions of this database for which exists() says no, of processes that died
 * while writing.  A file too many removed is made again, so no lock is needed.
 */
extern void ds_shared_sweep(bool (*exists)(int32 model, int32 version, const pg_uuid_t *uid,
										   void *context),
							void *context);

extern void ds_init_shared(void);

#endif /* DS_MODEL_SHARED_H */
