/*
 * order.h
 *		Which pairs stand in which batch.
 *
 * Each epoch has an order of its own, a permutation by (seed, epoch).  A
 * batch takes pairs in that order, but no two that would make a wrong negative
 * of each other: with the same query, with the same positive, or where a
 * document of one is a positive of the other's query by another pair.  Such a
 * pair waits for a later batch.
 *
 * That cannot always be done: when one query has a tenth of all pairs, or when
 * queries share most documents.  "avoid" lets a bounded number of pairs wait,
 * and then takes the oldest as it is; "never" ends the batch instead, so that
 * there may be small ones.  Where such pairs do meet, the losses leave out equal
 * queries and equal documents by themselves, and ds_order_known() tells them what
 * else is right for a query, by pairs that stand in other batches: no document
 * that the source calls right for a query is ever a negative of it, unless the
 * pair itself names it as one.
 *
 * "together" does the opposite with documents: all pairs of one stand behind each other.
 * A tower over pictures takes each picture of a batch once, so a step costs as many pictures
 * as it has distinct ones; what equals a query's own document is no negative of it.
 */
#ifndef DS_TRAIN_ORDER_H
#define DS_TRAIN_ORDER_H

#include "train/options.h"
#include "train/pairs.h"

typedef struct DsOrder DsOrder;

/* least: batches with fewer pairs are left out */
extern DsOrder *ds_order_create(const DsPairs *pairs, uint32 batch_size, uint32 least,
								DsDuplicates duplicates, uint64 seed);

/* To the beginning of an epoch, counted from 1 */
extern void ds_order_begin(DsOrder *order, uint32 epoch);

/* The numbers of the next batch's pairs, which stand until the next call; 0 at the end of the epoch */
extern uint32 ds_order_next(DsOrder *order, const uint32 **numbers);

/*
 * Which documents of a batch (by their columns: those of pairs first, then the
 * others in order) are right for which of its queries, beside those that their
 * texts tell: known[offsets[i]] ... for pair i.  known has room for so many
 * (ds_pairs_bounds()).
 */
extern void ds_order_known(DsOrder *order, const uint32 *numbers, uint32 n, size_t *offsets,
						   uint32 *known, size_t room);

/* How many batches this epoch has */
extern uint64 ds_order_count(DsOrder *order, uint32 epoch);

#endif /* DS_TRAIN_ORDER_H */
