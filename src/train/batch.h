/*
 * batch.h
 *		A batch in one block of memory without pointers, so that all workers can see it.
 */
#ifndef DS_TRAIN_BATCH_H
#define DS_TRAIN_BATCH_H

#include "nn/training.h"
#include "train/order.h"
#include "train/pairs.h"

typedef struct DsBatch DsBatch;

/* Bytes for a batch within the bounds */
extern Size ds_batch_size(size_t pairs, const DsPairsBounds *bounds);

/*
 * pairs[numbers[0 .. n - 1]], a batch of this order; the block is aligned to 64
 * bytes, and large enough: bounds are those that its size was computed from.
 */
extern void ds_batch_fill(DsBatch *batch, DsPairs *pairs, DsOrder *order,
						  const DsPairsBounds *bounds, const uint32 *numbers, uint32 n);

/* Pointers into the block; features are given as such. */
extern void ds_batch_view(const DsBatch *batch, bool features, DsTrainBatch *view);

#endif /* DS_TRAIN_BATCH_H */
