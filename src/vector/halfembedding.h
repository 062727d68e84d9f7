/*
 * halfembedding.h
 *		The type halfembedding: a vector of finite half floats.
 *
 * It is an embedding of half the size.  Distances and comparisons work on the
 * halves; everything else is what an embedding's function makes of the values
 * as floats, rounded to the nearest halves, so that there is one arithmetic.
 */
#ifndef DS_HALFEMBEDDING_H
#define DS_HALFEMBEDDING_H

#include "vector/embedding.h"
#include "vector/half.h"

typedef struct DsHalfEmbedding
{
	int32 vl_len_; /* varlena header, do not touch */
	int16 dim; /* 1 to DS_EMBEDDING_MAX_DIM */
	int16 unused; /* zero */
	DsHalf x[FLEXIBLE_ARRAY_MEMBER]; /* finite */
} DsHalfEmbedding;

#define DS_HALFEMBEDDING_SIZE(dim) (offsetof(DsHalfEmbedding, x) + sizeof(DsHalf) * (Size) (dim))

/* The most elements that fit behind a short header. */
#define DS_HALFEMBEDDING_SHORT_DIM ((VARATT_SHORT_MAX - VARHDRSZ_SHORT - 4) / 2)

/* A value to read, as DsEmbeddingView.  x may point into the view itself. */
typedef struct DsHalfView
{
	const DsHalf *x;
	int dim;
	void *detoasted; /* for ds_halfembedding_done(), or NULL */
	DsHalf buffer[DS_HALFEMBEDDING_SHORT_DIM];
} DsHalfView;

/* Read a value, in place where that is possible. */
static inline void
ds_halfembedding_view(Datum datum, DsHalfView *view)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(datum);
	const char *body;
	Size size;
	int16 dim;

	view->detoasted = NULL;
	if (unlikely(VARATT_IS_COMPRESSED(value) || VARATT_IS_EXTERNAL(value)))
		view->detoasted = value = pg_detoast_datum_packed(value);
	body = VARDATA_ANY(value);
	size = VARSIZE_ANY_EXHDR(value);
	if (unlikely(size < DS_EMBEDDING_BODY + sizeof(DsHalf)))
		ds_embedding_corrupted();
	memcpy(&dim, body, sizeof(dim));
	if (unlikely(dim < 1 || size != DS_EMBEDDING_BODY + sizeof(DsHalf) * (Size) dim))
		ds_embedding_corrupted();
	view->dim = dim;
	if (VARATT_IS_SHORT(value))
	{
		memcpy(view->buffer, body + DS_EMBEDDING_BODY, sizeof(DsHalf) * (Size) dim);
		view->x = view->buffer;
	}
	else
		view->x = (const DsHalf *) (body + DS_EMBEDDING_BODY);
}

static inline void
ds_halfembedding_done(DsHalfView *view)
{
	if (unlikely(view->detoasted != NULL))
		pfree(view->detoasted);
}

/* A new value in the current context, all elements zero; dim is checked (22000, 54000). */
extern DsHalfEmbedding *ds_halfembedding_new(int dim);

/* The elements as floats, to be given back with ds_embedding_done(). */
extern void ds_halfembedding_floats(Datum datum, DsEmbeddingView *view);

/* The value as an embedding, in the current context */
extern DsEmbedding *ds_halfembedding_widen(Datum value);

/* Floats as halves, each rounded to the nearest; 22003 for one that is out of range. */
extern DsHalfEmbedding *ds_halfembedding_from(const float *x, int dim);

/* The same for what a function computed: 22003 speaks of overflow. */
extern DsHalfEmbedding *ds_halfembedding_result(const DsEmbedding *value);

/* A hash that is the same for equal values; see ds_embedding_hash64(). */
extern uint64 ds_halfembedding_hash64(Datum datum, uint64 seed);

#endif /* DS_HALFEMBEDDING_H */
