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
#define KEY_OFFSETS UINT64CONST(2)
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
	uint64 count;
	pg_atomic_uint64 next;
} Shared;

static void
take_part(DsModel *model, Shared *shared, const uint64 *offsets, const char *text, bool *failed,
		  float *out)
{
	for (;;)
	{
		uint64 first = pg_atomic_fetch_add_u64(&shared->next, PIECE);
		uint64 last = Min(first + PIECE, shared->count);
		DsText texts[PIECE];

		if (first >= shared->count)
			break;
		for (uint64 i = first; i < last; i++)
			texts[i - first] = (DsText){text + offsets[i], offsets[i + 1] - offsets[i]};
		ds_model_encode(model, (DsSide) shared->side, texts, last - first,
						shared->may_fail ? failed + first : NULL,
						out + first * (size_t) shared->dims);
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

void
ds_encode_parallel(DsModel *model, DsSide side, const DsText *texts, size_t count, int processes,
				   bool *failed, float *out)
{
	ParallelContext *context;
	Shared *shared;
	uint64 *offsets;
	char *text;
	float *embeddings;
	bool *shared_failed;
	Size sizes[KEYS] = {sizeof(Shared), mul_size(sizeof(uint64), count + 1), 0,
						mul_size(mul_size(sizeof(float), count), (Size) model->dims), count};

	for (size_t i = 0; i < count; i++)
		sizes[2] = add_size(sizes[2], texts[i].length);
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
	offsets = allocate(context, KEY_OFFSETS, sizes[1]);
	text = allocate(context, KEY_TEXT, sizes[2]);
	embeddings = allocate(context, KEY_OUT, sizes[3]);
	shared_failed = allocate(context, KEY_FAILED, sizes[4]);
	shared->may_fail = failed != NULL;
	shared->model = model->key;
	shared->side = (int32) side;
	shared->dims = model->dims;
	shared->count = count;
	pg_atomic_init_u64(&shared->next, 0);
	offsets[0] = 0;
	for (size_t i = 0; i < count; i++)
	{
		memcpy(text + offsets[i], texts[i].data, texts[i].length);
		offsets[i + 1] = offsets[i] + texts[i].length;
	}
	/* where none can be had, this process does it all */
	LaunchParallelWorkers(context);
	take_part(model, shared, offsets, text, shared_failed, embeddings);
	WaitForParallelWorkersToFinish(context);
	memcpy(out, embeddings, sizes[3]);
	if (failed != NULL)
		memcpy(failed, shared_failed, sizes[4]);
	DestroyParallelContext(context);
	ExitParallelMode();
	PopActiveSnapshot();
}
