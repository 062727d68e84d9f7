/*
 * batch.c
 *		A batch in one block of memory without pointers, so that all workers can see it.
 */
#include "train/batch.h"

/* Where each array begins, from the batch's own address; all aligned */
typedef struct Side
{
	uint64 count;
	uint64 ids_count;
	uint64 offsets;
	uint64 keys;
	uint64 ids;
	uint64 types;
	/* of sides that have pictures */
	uint64 pictures_count;
	uint64 picture;
	uint64 pixels;
	bool has_pictures;
} Side;

struct DsBatch
{
	uint64 pairs;
	bool labels;
	bool weighted;
	uint64 others;
	uint64 weights;
	uint64 label;
	uint64 known_offsets;
	uint64 known;
	Side side[2]; /* queries, documents */
};

#define ALIGNMENT 64

static uint64
place(uint64 *end, size_t count, size_t size)
{
	uint64 at = TYPEALIGN64(ALIGNMENT, *end);

	*end = at + (uint64) count * size;
	return at;
}

static uint64
place_all(DsBatch *batch, uint64 pairs, uint64 documents, uint64 query_ids, uint64 document_ids,
		  const uint64 pictures[2], const size_t pixels[2], uint64 known)
{
	uint64 end = sizeof(DsBatch);
	uint64 counts[2] = {pairs, documents};
	uint64 ids[2] = {query_ids, document_ids};

	batch->pairs = pairs;
	batch->others = place(&end, pairs + 1, sizeof(size_t));
	batch->weights = place(&end, pairs, sizeof(float));
	batch->label = place(&end, documents, sizeof(float));
	batch->known_offsets = place(&end, pairs + 1, sizeof(size_t));
	for (int s = 0; s < 2; s++)
	{
		Side *side = &batch->side[s];

		side->count = counts[s];
		side->ids_count = ids[s];
		side->offsets = place(&end, counts[s] + 1, sizeof(size_t));
		side->keys = place(&end, counts[s], sizeof(uint64));
		side->ids = place(&end, ids[s], sizeof(uint32));
		side->types = place(&end, ids[s], 1);
		side->has_pictures = pixels[s] > 0;
		side->pictures_count = pictures[s];
		side->picture = place(&end, side->has_pictures ? counts[s] : 0, sizeof(uint32));
		side->pixels = place(&end, pictures[s], pixels[s]);
	}
	batch->known = place(&end, known, sizeof(uint32));
	return end;
}

#define AT(batch, offset, type) ((type *) ((char *) (batch) + (offset)))

Size
ds_batch_size(size_t pairs, const DsPairsBounds *bounds)
{
	DsBatch batch;
	uint64 pictures[2] = {bounds->pictures[0], bounds->pictures[1]};

	/* both sides together have at most so many tokens, but a bound of each is not known */
	return place_all(&batch, pairs, bounds->documents, bounds->tokens, bounds->tokens, pictures,
					 bounds->pixels, bounds->known);
}

/* How many distinct pictures the batch has on each side */
static void
count_pictures(DsPairs *pairs, const uint32 *numbers, uint32 n, uint64 count[2])
{
	count[0] = count[1] = 0;
	for (int s = 0; s < 2; s++)
	{
		if (pairs->pictures[s] == NULL)
			continue;
		ds_pictures_begin(pairs->pictures[s]);
		for (uint32 i = 0; i < n; i++)
		{
			DsPair pair;

			ds_pairs_get(pairs, numbers[i], &pair);
			for (uint32 d = (uint32) s; d <= (s == 0 ? 0 : pair.documents); d++)
			{
				bool fresh = false;

				if (pair.pictures[d] != DS_NO_PICTURE)
					(void) ds_pictures_place(pairs->pictures[s], pair.pictures[d], &fresh);
				count[s] += fresh;
			}
		}
	}
}

/* A text's picture into its side's arrays */
static void
put_picture(DsBatch *batch, int s, DsPictures *pictures, size_t text, uint32 number)
{
	const Side *side = &batch->side[s];
	uint32 place = DS_NO_PICTURE;
	bool fresh = false;

	if (number != DS_NO_PICTURE)
		place = ds_pictures_place(pictures, number, &fresh);
	AT(batch, side->picture, uint32)[text] = place;
	if (fresh)
		ds_pictures_get(pictures, number,
						AT(batch, side->pixels, uint8) + place * ds_pictures_size(pictures));
}

static void
put_pictures(DsBatch *batch, DsPairs *pairs, const uint32 *numbers, uint32 n)
{
	for (int s = 0; s < 2; s++)
	{
		DsPictures *pictures = pairs->pictures[s];
		size_t others = n;

		if (pictures == NULL)
			continue;
		ds_pictures_begin(pictures);
		/* first the positives, then the others of each pair */
		for (uint32 i = 0; i < n; i++)
		{
			DsPair pair;

			ds_pairs_get(pairs, numbers[i], &pair);
			put_picture(batch, s, pictures, i, pair.pictures[s]);
		}
		for (uint32 i = 0; i < n && s == 1; i++)
		{
			DsPair pair;

			ds_pairs_get(pairs, numbers[i], &pair);
			for (uint32 d = 1; d < pair.documents; d++)
				put_picture(batch, s, pictures, others++, pair.pictures[d + 1]);
		}
	}
}

typedef struct Cursor
{
	size_t *offsets;
	uint64 *keys;
	uint32 *ids;
	uint8 *types;
	size_t text;
	size_t used;
} Cursor;

static Cursor
cursor(DsBatch *batch, int s)
{
	const Side *side = &batch->side[s];
	Cursor to = {AT(batch, side->offsets, size_t),
				 AT(batch, side->keys, uint64),
				 AT(batch, side->ids, uint32),
				 AT(batch, side->types, uint8),
				 0,
				 0};

	to.offsets[0] = 0;
	return to;
}

/* A text behind the others; returns where the next one's numbers stand. */
static const uint32 *
add(Cursor *to, const uint32 *ids, uint32 count, uint64 key, bool features)
{
	to->keys[to->text] = key;
	if (features)
		memcpy(to->ids + to->used, ids, sizeof(uint32) * count);
	else
	{
		for (uint32 i = 0; i < count; i++)
		{
			to->ids[to->used + i] = ids[i] & PG_INT32_MAX;
			to->types[to->used + i] = (uint8) (ids[i] >> 31);
		}
	}
	to->used += count;
	to->offsets[++to->text] = to->used;
	return ids + count;
}

void
ds_batch_fill(DsBatch *batch, DsPairs *pairs, DsOrder *order, const DsPairsBounds *bounds,
			  const uint32 *numbers, uint32 n)
{
	uint64 documents = 0;
	uint64 ids[2] = {0, 0};
	uint64 pictures[2];
	Cursor query;
	Cursor document;
	size_t *others;
	float *weights;
	float *label;

	for (uint32 i = 0; i < n; i++)
	{
		DsPair pair;

		ds_pairs_get(pairs, numbers[i], &pair);
		documents += pair.documents;
		ids[0] += pair.counts[0];
		for (uint32 d = 1; d <= pair.documents; d++)
			ids[1] += pair.counts[d];
	}
	count_pictures(pairs, numbers, n, pictures);
	place_all(batch, n, documents, ids[0], ids[1], pictures, bounds->pixels, bounds->known);
	batch->labels = pairs->labels;
	batch->weighted = pairs->weights || pairs->balanced;
	query = cursor(batch, 0);
	document = cursor(batch, 1);
	others = AT(batch, batch->others, size_t);
	weights = AT(batch, batch->weights, float);
	label = AT(batch, batch->label, float);

	/* first the positives, then the others of each pair */
	for (uint32 i = 0; i < n; i++)
	{
		DsPair pair;
		const uint32 *at;

		ds_pairs_get(pairs, numbers[i], &pair);
		weights[i] = pair.weight;
		at = add(&query, pair.ids, pair.counts[0], pair.keys[0], pairs->features);
		if (pair.labels > 0)
			label[document.text] = pair.label[0];
		add(&document, at, pair.counts[1], pair.keys[1], pairs->features);
	}
	others[0] = 0;
	for (uint32 i = 0; i < n; i++)
	{
		DsPair pair;
		const uint32 *at;

		ds_pairs_get(pairs, numbers[i], &pair);
		at = pair.ids + pair.counts[0] + pair.counts[1];
		for (uint32 d = 1; d < pair.documents; d++)
		{
			if (pair.labels > 0)
				label[document.text] = pair.label[d];
			at = add(&document, at, pair.counts[d + 1], pair.keys[d + 1], pairs->features);
		}
		others[i + 1] = others[i] + pair.documents - 1;
	}
	put_pictures(batch, pairs, numbers, n);
	ds_order_known(order, numbers, n, AT(batch, batch->known_offsets, size_t),
				   AT(batch, batch->known, uint32), bounds->known);
}

static void
view_side(const DsBatch *batch, int s, bool features, DsTrainTexts *texts)
{
	const Side *side = &batch->side[s];

	memset(texts, 0, sizeof(*texts));
	texts->offsets = AT(batch, side->offsets, size_t);
	texts->keys = AT(batch, side->keys, uint64);
	if (features)
		texts->features = AT(batch, side->ids, float);
	else
	{
		texts->ids = AT(batch, side->ids, uint32);
		texts->types = AT(batch, side->types, uint8);
	}
	if (side->has_pictures)
	{
		texts->pixels = AT(batch, side->pixels, uint8);
		texts->pictures = side->pictures_count;
		texts->picture = AT(batch, side->picture, uint32);
	}
}

void
ds_batch_view(const DsBatch *batch, bool features, DsTrainBatch *view)
{
	memset(view, 0, sizeof(*view));
	view->pairs = batch->pairs;
	view->documents = batch->side[1].count;
	view_side(batch, 0, features, &view->query);
	view_side(batch, 1, features, &view->document);
	if (view->documents > view->pairs)
		view->others = AT(batch, batch->others, size_t);
	if (AT(batch, batch->known_offsets, size_t)[batch->pairs] > 0)
	{
		view->known_offsets = AT(batch, batch->known_offsets, size_t);
		view->known = AT(batch, batch->known, uint32);
	}
	if (batch->labels)
		view->labels = AT(batch, batch->label, float);
	if (batch->weighted)
		view->weights = AT(batch, batch->weights, float);
}
