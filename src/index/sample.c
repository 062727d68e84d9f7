/*
 * sample.c
 *		Rows of a table at random: for a build (build.c, stage 1), and for those
 *		that look after an index.
 */
#include "index/build.h"

#include <math.h>

#include "access/tableam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "index/life.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/sampling.h"
#include "vector/embedding.h"

/*
 * Sampled rows wanted a list, and in all.  With half as many, squared residuals
 * are 3 % larger, and a search reads 3 to 10 % more rows for a recall of 0.99
 * (docs/internals/quant.md); with less, the user hears of it.
 */
#define SAMPLE_PER_LIST 40
#define SAMPLE_LEAST 10000

/*
 * Vitter's reservoir: the place of the next row in a sample of `room' rows; of
 * no use when it is `room' or more.
 */
static uint64
draw(DsRandom *random, uint64 *seen, uint64 room)
{
	uint64 at = (*seen)++;

	return at < room ? at : ds_random_below(random, *seen);
}

/* ---- of a build ---- */

bool
ds_build_vector(Build *build, Datum value, bool isnull, DsEmbeddingView *vector)
{
	if (isnull)
		return false;
	ds_index_vector(build->half, value, vector);
	if (build->meta.dimension == 0)
		build->meta.dimension = vector->dim;
	else if ((uint32) vector->dim != build->meta.dimension)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("cannot index vectors of different dimensions: %u and %d",
						build->meta.dimension, vector->dim),
				 errhint("Give the column a type with a dimension, such as %sembedding(%u), or "
						 "index a part of the rows (WHERE ds_dims(...) = %u).",
						 build->half ? "half" : "", build->meta.dimension, build->meta.dimension)));
	return true;
}

/* Bytes of a build's centroids: as they are, packed by a router, and being moved */
static double
centroid_bytes(const Build *build)
{
	return 3.0 * sizeof(float) * build->meta.dimension *
		   ds_build_lists(&build->meta, build->expected);
}

/* Bytes of a row of the sample, and of k-means for it */
#define SAMPLE_ROW_BYTES(d) (sizeof(float) * (d) + sizeof(ItemPointerData) + 16)

/* What k-means takes beside: tiles, the neighbours of queries */
#define SAMPLE_FIXED_BYTES (8.0 * 1024 * 1024)

/*
 * How many rows are sampled: as many as are wanted, or as the memory has room
 * for beside the centroids.
 */
static void
plan_sample(Build *build)
{
	uint32 d = build->meta.dimension;
	double memory = maintenance_work_mem * 1024.0;
	double other = centroid_bytes(build) + SAMPLE_FIXED_BYTES;
	double room = Max(memory - other, memory / 4) / SAMPLE_ROW_BYTES(d);
	double wanted =
		Max((double) SAMPLE_PER_LIST * ds_build_lists(&build->meta, build->expected), SAMPLE_LEAST);

	wanted = Min(wanted, Max(build->expected, 256));
	build->sample_room = (uint64) Max(Min(room, wanted), 256);
	if (room < wanted / 2)
	{
		double needed = wanted * SAMPLE_ROW_BYTES(d) + other;

		ereport(NOTICE,
				(errmsg("maintenance_work_mem has room for %.0f of %.0f rows that the "
						"lists of index \"%s\" should be made of",
						(double) build->sample_room, wanted, RelationGetRelationName(build->index)),
				 errdetail("Searches will open more lists than necessary."),
				 errhint("Set maintenance_work_mem to \"%.0fMB\" for this index.",
						 ceil(needed / (1024 * 1024)))));
	}
}

static void
sample_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		   bool alive pg_attribute_unused(), void *pointer)
{
	Build *build = pointer;
	DsEmbeddingView vector;
	MemoryContext old;
	uint64 at;

	(void) index;
	old = MemoryContextSwitchTo(build->row_context);
	if (ds_build_vector(build, values[0], isnull[0], &vector))
	{
		uint32 d = build->meta.dimension;

		if (build->sample == NULL)
		{
			/* now the dimension is known */
			plan_sample(build);
			build->sample = MemoryContextAllocHuge(build->context,
												   mul_size(build->sample_room, sizeof(float) * d));
			build->sample_tid = MemoryContextAllocHuge(
				build->context, mul_size(build->sample_room, sizeof(ItemPointerData)));
		}

		at = draw(&build->random, &build->sampled_from, build->sample_room);
		if (at < build->sample_room)
		{
			memcpy(build->sample + at * d, vector.x, sizeof(float) * d);
			build->sample_tid[at] = *tid;
			build->samples = Max(build->samples, at + 1);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
}

void
ds_build_sample(Build *build, double *rows)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(build->heap);
	BlockNumber all_visible;
	double tuples = 0;
	double fraction = 0;
	double wanted;
	BlockSamplerData sampler;
	BlockNumber read = 0;
	double target;

	*rows = 0;
	if (blocks == 0)
		return;
	estimate_rel_size(build->heap, NULL, &all_visible, &tuples, &fraction);
	tuples = Max(tuples, blocks);
	build->expected = tuples;
	wanted = SAMPLE_PER_LIST * (build->meta.dimension > 0 || build->meta.wanted_lists > 0
									? (double) ds_build_lists(&build->meta, tuples)
									: 3 * sqrt(tuples));
	wanted = Max(wanted, SAMPLE_LEAST);

	/* twice the blocks that the sample needs, so that blocks are not alike within it */
	target = ceil(2 * wanted / (tuples / blocks));
	target = Min(Max(target, 1000), blocks);

	ds_build_phase(DS_PHASE_SAMPLE, (int64) target);
	BlockSampler_Init(&sampler, blocks, (int) target, (uint32) build->meta.seed);
	while (BlockSampler_HasMore(&sampler))
	{
		BlockNumber block = BlockSampler_Next(&sampler);

		CHECK_FOR_INTERRUPTS();
		/* no wait for the writers of rows that are under way: a snapshot waits for none */
		table_index_build_range_scan(build->heap, build->index, build->info, false,
									 !build->info->ii_Concurrent, false, block, 1, sample_row,
									 build, NULL);
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, ++read);
	}
	if (read > 0)
		*rows = (double) build->sampled_from / read * blocks;
}

/* ---- of a table that has an index ---- */

typedef struct Sample
{
	DsRandom random;
	uint64 seen;
	uint32 wanted;
	uint32 count;
	bool half; /* vectors have half floats */
	uint32 dimension;
	float *vector;
	ItemPointerData *tid;
	MemoryContext context;
	MemoryContext row_context;
} Sample;

static void
see_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		bool alive pg_attribute_unused(), void *pointer)
{
	Sample *sample = pointer;
	DsEmbeddingView vector;
	MemoryContext old;
	uint64 at;

	(void) index;
	if (isnull[0])
		return;

	/* the row is read only when it is drawn */
	at = draw(&sample->random, &sample->seen, sample->wanted);
	if (at >= sample->wanted)
		return;
	old = MemoryContextSwitchTo(sample->row_context);
	ds_index_vector(sample->half, values[0], &vector);
	if (sample->vector == NULL)
	{
		sample->dimension = vector.dim;
		sample->vector = MemoryContextAllocHuge(
			sample->context, mul_size(sizeof(float) * vector.dim, sample->wanted));
	}
	memcpy(sample->vector + at * sample->dimension, vector.x, sizeof(float) * sample->dimension);
	sample->tid[at] = *tid;
	sample->count = Max(sample->count, (uint32) at + 1);
	MemoryContextSwitchTo(old);
	MemoryContextReset(sample->row_context);
}

uint32
ds_sample_rows(DsSubject *subject, Snapshot snapshot, uint32 wanted, uint64 seed, float **vectors,
			   ItemPointerData **tids, uint32 *dimension)
{
	Sample sample;

	memset(&sample, 0, sizeof(sample));
	ds_random_init(&sample.random, seed, 0);
	sample.wanted = wanted;
	sample.half = ds_index_is_half(subject->index);
	sample.tid = palloc(sizeof(ItemPointerData) * wanted);
	sample.context = CurrentMemoryContext;
	sample.row_context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch sample", ALLOCSET_DEFAULT_SIZES);
	(void) ds_subject_scan(subject, snapshot, see_row, &sample);
	MemoryContextDelete(sample.row_context);
	*vectors = sample.vector;
	*tids = sample.tid;
	*dimension = sample.dimension;
	return sample.count;
}
