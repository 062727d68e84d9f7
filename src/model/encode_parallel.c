/*
 * encode_parallel.c
 *		Encoding many texts by several processes.
 *
 * For models that take milliseconds a text.  The texts of one chunk of
 * ds_encode_table (about a second's work) lie in shared memory; this process
 * and its workers take a few at a time by a common counter, each writes the
 * embeddings to their place.  Workers are started for the chunk and end with
 * it, which costs some milliseconds, so that this process can read and write
 * tables in between (it could not while they run).  All map the same weights.
 */
#include "model/model.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/shm_toc.h"
#include "utils/snapmgr.h"

#define KEY_SHARED UINT64CONST(1)
#define KEY_OFFSETS UINT64CONST(2) /* of texts; then of pictures, where both are given */
#define KEY_TEXT UINT64CONST(3)
#define KEY_OUT UINT64CONST(4)
#define KEY_FAILED UINT64CONST(5)
#define KEYS 5

/* texts that a process takes at once */
#define PIECE 8

typedef struct Shared
{
	DsModelKey model;
	int32 side;
	int32 dims;
	bool may_fail;
	bool both; /* a text and a picture each */
	uint64 count;
	pg_atomic_uint64 next;
} Shared;

/* Of a part that is not there the offset is this, and the length nothing */
#define MISSING UINT64_MAX

static DsText
part_at(const uint64 *parts, uint64 i, const char *text)
{
	if (parts[2 * i] == MISSING)
		return (DsText){NULL, 0};
	return (DsText){text + parts[2 * i], parts[2 * i + 1]};
}

static void
take_part(DsModel *model, Shared *shared, const uint64 *parts, const char *text, bool *failed,
		  float *out)
{
	for (;;)
	{
		uint64 first = pg_atomic_fetch_add_u64(&shared->next, PIECE);
		uint64 last = Min(first + PIECE, shared->count);
		DsText texts[PIECE];
		DsText pictures[PIECE];
		bool *bad = shared->may_fail ? failed + first : NULL;
		float *to = out + first * (size_t) shared->dims;

		if (first >= shared->count)
			break;
		for (uint64 i = first; i < last; i++)
		{
			texts[i - first] = part_at(parts, i, text);
			if (shared->both)
				pictures[i - first] = part_at(parts, shared->count + i, text);
		}
		if (shared->both)
			ds_model_encode_both(model, (DsSide) shared->side, texts, pictures, last - first, bad,
								 to);
		else
			ds_model_encode(model, (DsSide) shared->side, texts, last - first, bad, to);
	}
}

extern PGDLLEXPORT void ds_encode_worker(dsm_segment *segment, shm_toc *toc);

void
ds_encode_worker(dsm_segment *segment pg_attribute_unused(), shm_toc *toc)
{
	Shared *shared = shm_toc_lookup(toc, KEY_SHARED, false);

	take_part(ds_model_open(shared->model), shared, shm_toc_lookup(toc, KEY_OFFSETS, false),
			  shm_toc_lookup(toc, KEY_TEXT, false), shm_toc_lookup(toc, KEY_FAILED, false),
			  shm_toc_lookup(toc, KEY_OUT, false));
}

static void *
allocate(ParallelContext *context, uint64 key, Size size)
{
	void *space = shm_toc_allocate(context->toc, size);

	shm_toc_insert(context->toc, key, space);
	return space;
}

/* Behind what is there; returns where the next one goes. */
static uint64
put_parts(const DsText *texts, size_t count, uint64 *parts, char *text, uint64 used)
{
	for (size_t i = 0; i < count; i++)
	{
		parts[2 * i] = texts[i].data == NULL ? MISSING : used;
		parts[2 * i + 1] = texts[i].length;
		if (texts[i].length > 0)
			memcpy(text + used, texts[i].data, texts[i].length);
		used += texts[i].length;
	}
	return used;
}

void
ds_encode_parallel(DsModel *model, DsSide side, const DsText *texts, const DsText *pictures,
				   size_t count, int processes, bool *failed, float *out)
{
	ParallelContext *context;
	Shared *shared;
	uint64 *parts;
	uint64 used;
	char *text;
	float *embeddings;
	bool *shared_failed;
	Size sizes[KEYS] = {sizeof(Shared), mul_size(sizeof(uint64) * 4, count + 1), 0,
						mul_size(mul_size(sizeof(float), count), (Size) model->dims), count};

	for (size_t i = 0; i < count; i++)
		sizes[2] =
			add_size(sizes[2], texts[i].length + (pictures != NULL ? pictures[i].length : 0));
	sizes[2] = Max(sizes[2], 1);
	PushActiveSnapshot(GetTransactionSnapshot());
	EnterParallelMode();
	context = CreateParallelContext("deepsearch", "ds_encode_worker",
									(int) Min((size_t) processes - 1, count / PIECE));
	for (int i = 0; i < KEYS; i++)
		shm_toc_estimate_chunk(&context->estimator, sizes[i]);
	shm_toc_estimate_keys(&context->estimator, KEYS);
	InitializeParallelDSM(context);
	shared = allocate(context, KEY_SHARED, sizes[0]);
	parts = allocate(context, KEY_OFFSETS, sizes[1]);
	text = allocate(context, KEY_TEXT, sizes[2]);
	embeddings = allocate(context, KEY_OUT, sizes[3]);
	shared_failed = allocate(context, KEY_FAILED, sizes[4]);
	shared->may_fail = failed != NULL;
	shared->both = pictures != NULL;
	shared->model = model->key;
	shared->side = (int32) side;
	shared->dims = model->dims;
	shared->count = count;
	pg_atomic_init_u64(&shared->next, 0);
	used = put_parts(texts, count, parts, text, 0);
	if (pictures != NULL)
		(void) put_parts(pictures, count, parts + 2 * count, text, used);
	/* where none can be had, this process does it all */
	LaunchParallelWorkers(context);
	take_part(model, shared, parts, text, shared_failed, embeddings);
	WaitForParallelWorkersToFinish(context);
	memcpy(out, embeddings, sizes[3]);
	if (failed != NULL)
		memcpy(failed, shared_failed, sizes[4]);
	DestroyParallelContext(context);
	ExitParallelMode();
	PopActiveSnapshot();
}
