/*
 * neighbours.h
 *		The nearest rows of some queries, and how many lists a scan must open
 *		to find them: what a recall curve is made of.
 *
 *		ds_neighbours_init()
 *		ds_neighbours_keep() for each row that is below the query's threshold
 *		ds_ranks_init()
 *		for each query: ds_ranks_add() with the keys of all lists
 *		ds_ranks_curve() for each number of rows
 */
#ifndef DS_QUANT_NEIGHBOURS_H
#define DS_QUANT_NEIGHBOURS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

/* A row near a query, and the list that it is in; or a list */
typedef struct DsNeighbour
{
	float key; /* less is nearer */
	uint32_t list;
} DsNeighbour;

typedef struct DsNeighbours
{
	uint32_t queries;
	uint32_t keep; /* of each */
	float *threshold; /* [queries]: keys that are not below it are not kept; infinite at first */
	uint32_t *kept; /* [queries] */
	DsNeighbour *neighbour; /* [queries, keep], each a heap with the farthest on top */
} DsNeighbours;

/* keep > 0.  The arrays live in the arena.  DS_OUT_OF_MEMORY. */
extern DsCode ds_neighbours_init(DsNeighbours *neighbours, uint32_t queries, uint32_t keep,
								 DsArena *arena, DsStatus *status);

/* Keep a row, whose key is below the query's threshold: the farthest gives way when all are. */
extern void ds_neighbours_keep(DsNeighbours *neighbours, uint32_t query, float key, uint32_t list);

/* Where the neighbours' lists stand in the order in which a scan opens lists */
typedef struct DsRanks
{
	uint32_t lists;
	uint32_t stages; /* numbers of rows that are asked for */
	const uint32_t *rows; /* [stages], ascending; the caller's */
	uint64_t *total; /* [stages]: neighbours seen */
	uint64_t **hits; /* [stages][lists]: how many of them are in the list at this rank */
	float **gap; /* [stages][rows * queries]: how far their lists' keys are beyond the nearest's */
	DsNeighbour *asked; /* [the most rows]: lists of a query's neighbours, scratch */
	uint32_t *rank; /* [the most rows + 1]: of these, scratch */
} DsRanks;

extern DsCode ds_ranks_init(DsRanks *ranks, uint32_t lists, uint32_t queries, uint32_t stages,
							const uint32_t *rows, DsArena *arena, DsStatus *status);

/*
 * Count a query's neighbours, which get sorted.  key[lists] is what lists are
 * opened by, least first; the nearest one that gaps count from is the first
 * whose key is finite.  Gaps are multiplied by scale.
 */
extern void ds_ranks_add(DsRanks *ranks, DsNeighbours *neighbours, uint32_t query, const float *key,
						 double scale);

/*
 * For each of n recalls, ascending: how many lists hold that part of the first
 * rows[stage] neighbours, and the gap within which that part is.
 */
extern void ds_ranks_curve(DsRanks *ranks, uint32_t stage, const double *recall, uint32_t n,
						   uint32_t *lists, float *gap);

/*
 * How many lists a query opens that goes up to a gap: opened[i] grows by how
 * many of key[lists] are within gap[i], n of them, ascending.
 */
extern void ds_ranks_opened(const float *key, uint32_t lists, double scale, const float *gap,
							uint32_t n, double *opened);

#endif /* DS_QUANT_NEIGHBOURS_H */
