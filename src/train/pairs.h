/*
 * pairs.h
 *		Training data: the rows of the source query, as token ids.
 *
 * The source is read once.  Its texts go to a temporary file while the
 * tokenizers learn from them; then the file is read back, and what remains
 * of it is ids, in memory up to maintenance_work_mem and in a temporary file
 * beyond.
 */
#ifndef DS_TRAIN_PAIRS_H
#define DS_TRAIN_PAIRS_H

#include "server.h"

#include "model/model.h"
#include "nn/training.h"

#include "storage/buffile.h"

typedef struct DsPairs
{
	MemoryContext context;
	int64 rows; /* of the source */
	int64 skipped; /* of these, without a query or a positive text */
	bool negatives; /* the source has a third column */

	/* the texts */
	BufFile *texts;

	/* the pairs */
	uint32 count;
	uint64 *places; /* [count + 1] first number of each pair's record */
	size_t places_allocated;
	uint32 *memory; /* the records, while they fit */
	size_t memory_allocated; /* in numbers */
	BufFile *file; /* all of them, when they do not */
	uint64 used; /* in numbers */
} DsPairs;

/* For DsModelConfig's towers: learners, or NULL where the tokenizer is there already */
typedef struct DsLearners
{
	DsTokenizerLearner *learner[2];
} DsLearners;

/*
 * Empty pairs in a new context below the current one; temporary files are
 * closed when it is deleted.
 */
extern DsPairs *ds_pairs_create(void);

/*
 * Run the source as the current user, read-only, and keep its texts.  Errors:
 * those of the query; 42601 where it is no plain SELECT; 42804 where its
 * columns are not two or three texts.
 */
extern void ds_pairs_read(DsPairs *pairs, const char *source, const DsLearners *learners);

/* Turn the texts into ids.  Texts without any feature are skipped. */
extern void ds_pairs_tokenize(DsPairs *pairs, const DsTokenizer *query,
							  DsTokenScratch *query_scratch, const DsTokenizer *document,
							  DsTokenScratch *document_scratch);

/*
 * Batches: pairs[order[0 .. n - 1]] as the trainer wants them, in buffers that
 * are used again.
 */
typedef struct DsBatchBuffers
{
	DsTrainBatch batch;
	uint32_t *ids[2];
	size_t ids_allocated[2];
	size_t *offsets[2];
	uint64_t *keys[2];
	uint32_t *negative_ids; /* collected behind the positives at the end */
	size_t negative_allocated;
	size_t *negative_offsets;
	uint64_t *negative_keys;
	uint32_t *record;
	size_t record_allocated;
} DsBatchBuffers;

extern DsBatchBuffers *ds_batch_create(size_t batch_size);
extern const DsTrainBatch *ds_batch_fill(DsBatchBuffers *buffers, DsPairs *pairs,
										 const uint32_t *order, size_t n);

#endif /* DS_TRAIN_PAIRS_H */
