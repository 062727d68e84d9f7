/*
 * order.c
 *		Points in an order in which neighbours are near each other.
 *
 * By halves: of a set's points, the one farthest from the first, and the one
 * farthest from that, are the first two poles.  The points are sorted along the
 * line from pole to pole and cut in the middle; the means of the halves are the
 * next poles, TURNS times.  Then each half in the same way.
 *
 * Example: 0, 9, 1, 7, 2, 8.  The farthest from 0 is 9, from 9 it is 0: along
 * the line from 9 to 0 they are 9, 8, 7 and 2, 1, 0.
 */
#include "quant/order.h"

#include <stdlib.h>
#include <string.h>

#include "vector/kernels.h"

#define TURNS 3

typedef struct Place
{
	float along; /* the line */
	uint32_t point;
} Place;

typedef struct Halving
{
	const float *points;
	size_t d;
	const DsCancel *cancel;
	double *sum; /* [d] */
	float *pole[2]; /* [d] */
} Halving;

static int
compare_places(const void *a, const void *b)
{
	const Place *x = a;
	const Place *y = b;

	if (x->along != y->along)
		return x->along < y->along ? -1 : 1;
	return (x->point > y->point) - (x->point < y->point);
}

static DsCode
mean_of(Halving *halving, const Place *place, uint32_t n, float *mean)
{
	size_t d = halving->d;

	memset(halving->sum, 0, d * sizeof(double));
	for (uint32_t i = 0; i < n; i++)
	{
		if (i % 64 == 0 && ds_cancelled(halving->cancel))
			return DS_CANCELLED;
		ds_kernels()->accumulate(halving->sum, halving->points + place[i].point * d, d);
	}
	for (size_t c = 0; c < d; c++)
		mean[c] = (float) (halving->sum[c] / n);
	return DS_OK;
}

/* The point of a set that is farthest from x, into pole */
static DsCode
farthest(const Halving *halving, const Place *place, uint32_t n, const float *x, float *pole)
{
	const float *found = x;
	float most = -1.0f;

	for (uint32_t i = 0; i < n; i++)
	{
		const float *point = halving->points + place[i].point * halving->d;
		float here;

		if (i % 64 == 0 && ds_cancelled(halving->cancel))
			return DS_CANCELLED;
		here = ds_kernels()->l2_squared(point, x, halving->d);
		if (here > most)
		{
			most = here;
			found = point;
		}
	}
	memcpy(pole, found, halving->d * sizeof(float));
	return DS_OK;
}

/* Sort along the line between the poles; pole[1] becomes the line. */
static DsCode
sort_along(Halving *halving, Place *place, uint32_t n)
{
	size_t d = halving->d;
	float *line = halving->pole[1];

	for (size_t c = 0; c < d; c++)
		line[c] -= halving->pole[0][c];
	for (uint32_t i = 0; i < n; i++)
	{
		float along;

		if (i % 64 == 0 && ds_cancelled(halving->cancel))
			return DS_CANCELLED;
		along = ds_kernels()->inner_product(halving->points + place[i].point * d, line, d);
		place[i].along = along == along ? along : 0.0f; /* NaN has no place in an order */
	}
	qsort(place, n, sizeof(Place), compare_places);
	return DS_OK;
}

static DsCode
halve(Halving *halving, Place *place, uint32_t n)
{
	uint32_t half = n / 2;
	DsCode code;

	if (n <= 2)
		return DS_OK;
	code = farthest(halving, place, n, halving->points + place[0].point * halving->d,
					halving->pole[0]);
	if (code == DS_OK)
		code = farthest(halving, place, n, halving->pole[0], halving->pole[1]);
	for (int turn = 1; code == DS_OK; turn++)
	{
		code = sort_along(halving, place, n);
		if (turn == TURNS)
			break;
		if (code == DS_OK)
			code = mean_of(halving, place, half, halving->pole[0]);
		if (code == DS_OK)
			code = mean_of(halving, place + half, n - half, halving->pole[1]);
	}
	if (code == DS_OK)
		code = halve(halving, place, half);
	if (code == DS_OK)
		code = halve(halving, place + half, n - half);
	return code;
}

DsCode
ds_order_near(const float *points, uint32_t n, size_t d, const DsCancel *cancel, DsArena *arena,
			  uint32_t *place, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(arena);
	Halving halving = {.points = points, .d = d, .cancel = cancel};
	Place *sorted = ds_arena_alloc(arena, n, sizeof(Place));
	DsCode code;

	halving.sum = ds_arena_alloc(arena, d, sizeof(double));
	halving.pole[0] = ds_arena_alloc(arena, d, sizeof(float));
	halving.pole[1] = ds_arena_alloc(arena, d, sizeof(float));
	if (sorted == NULL || halving.sum == NULL || halving.pole[0] == NULL || halving.pole[1] == NULL)
		code = ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the order of lists");
	else
	{
		for (uint32_t i = 0; i < n; i++)
			sorted[i] = (Place){0.0f, i};
		code = halve(&halving, sorted, n);
		for (uint32_t i = 0; i < n; i++)
			place[sorted[i].point] = i;
	}
	ds_arena_rewind(arena, mark);
	return code;
}
