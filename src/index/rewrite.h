/*
 * rewrite.h
 *		Rows out of their list and into a new one, code by code: what split.c
 *		and merge.c share.
 */
#ifndef DS_INDEX_REWRITE_H
#define DS_INDEX_REWRITE_H

#include "index/index.h"

/* A row out of its list */
typedef struct Moved
{
	uint32 part; /* where it goes */
	uint32 order; /* as it was, for a stable sort */
	DsRow row;
} Moved;

typedef struct Rewrite
{
	Relation index;
	DsView *view;
	uint32 list;
	Moved *moved;
	uint64 rows;
	uint64 room;
	uint64 places;
} Rewrite;

/* Read all rows of the list; it is locked, so nothing changes it but VACUUM's marks. */
extern void ds_rewrite_collect(Rewrite *rewrite);

/* Room for one more row in rewrite->moved; it is counted. */
extern Moved *ds_rewrite_add(Rewrite *rewrite);

/* What the codes of a row remember of it; zeros if they remember nothing. */
extern void ds_rewrite_remember(const Rewrite *rewrite, const DsRow *row, float *y);

/* How far a row may be from a point at the square of this distance of what is remembered */
extern float ds_rewrite_reach(const DsRow *row, double squared);

/* Raise a list's radius to a row's reach. */
static inline void
ds_rewrite_raise(float *radius, float reach)
{
	if (!(reach <= *radius))
		*radius = reach;
}

/* Put the rows in the order in which they are written: by part, then by centroid. */
extern void ds_rewrite_sort(Rewrite *rewrite);

/* Write the rows [from, until) as a list. */
extern void ds_rewrite_write(const Rewrite *rewrite, uint64 from, uint64 until, uint32 list,
							 uint32 generation, DsListEntry *entry);

/* The first of so many generations that nobody else gets */
extern uint32 ds_rewrite_generations(Relation index, uint32 count);

#endif /* DS_INDEX_REWRITE_H */
