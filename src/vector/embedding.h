/*
 * embedding.h
 *		The type embedding: a vector of finite float4 numbers.
 *
 * The elements of a value are always finite: every way in (text, binary,
 * casts, arithmetic, ds_embedding_from()) refuses NaN and infinity, so that
 * nothing else has to look for them.  -0 is a value, equal to 0.
 *
 * A stored value may have the short varlena header (up to 30 elements), which
 * leaves its elements at an odd address, and may be compressed or out of line.
 * DatumGetEmbedding() gives a value as in memory, copying in all these cases.
 * ds_embedding_view() copies out of line values only, and short ones into the
 * view itself: what it gives is aligned for the kernels of vector/kernels.h.
 */
#ifndef DS_EMBEDDING_H
#define DS_EMBEDDING_H

#include "server.h"

#include "lib/stringinfo.h"

#define DS_EMBEDDING_MAX_DIM 16000

typedef struct DsEmbedding
{
	int32 vl_len_; /* varlena header, do not touch */
	int16 dim; /* 1 to DS_EMBEDDING_MAX_DIM */
	int16 unused; /* zero */
	float x[FLEXIBLE_ARRAY_MEMBER]; /* finite */
} DsEmbedding;

#define DS_EMBEDDING_SIZE(dim) (offsetof(DsEmbedding, x) + sizeof(float) * (Size) (dim))

/* What follows the varlena header, long or short. */
#define DS_EMBEDDING_BODY (offsetof(DsEmbedding, x) - VARHDRSZ)

/* The most elements that fit behind a short header. */
#define DS_EMBEDDING_SHORT_DIM ((VARATT_SHORT_MAX - VARHDRSZ_SHORT - 4) / 4)

/* A value to read.  x may point into the view itself: do not assign views. */
typedef struct DsEmbeddingView
{
	const float *x;
	int dim;
	void *detoasted; /* for ds_embedding_done(), or NULL */
	float buffer[DS_EMBEDDING_SHORT_DIM];
} DsEmbeddingView;

#define DatumGetEmbedding(d) ((DsEmbedding *) PG_DETOAST_DATUM(d))
#define DatumGetEmbeddingCopy(d) ((DsEmbedding *) PG_DETOAST_DATUM_COPY(d))
#define EmbeddingGetDatum(e) PointerGetDatum(e)
#define PG_GETARG_EMBEDDING(n) DatumGetEmbedding(PG_GETARG_DATUM(n))
#define PG_RETURN_EMBEDDING(e) return EmbeddingGetDatum(e)

/* Raise XX001: the stored size and the stored dimension disagree. */
extern void ds_embedding_corrupted(void) __attribute__((__noreturn__));

/* Read a value, in place where that is possible. */
static inline void
ds_embedding_view(Datum datum, DsEmbeddingView *view)
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
	if (unlikely(size < DS_EMBEDDING_BODY + sizeof(float)))
		ds_embedding_corrupted();
	memcpy(&dim, body, sizeof(dim));
	if (unlikely(dim < 1 || size != DS_EMBEDDING_BODY + sizeof(float) * (Size) dim))
		ds_embedding_corrupted();
	view->dim = dim;
	if (VARATT_IS_SHORT(value))
	{
		memcpy(view->buffer, body + DS_EMBEDDING_BODY, sizeof(float) * (Size) dim);
		view->x = view->buffer;
	}
	else
		view->x = (const float *) (body + DS_EMBEDDING_BODY);
}

/*
 * Free what a view may have copied.  Needed where no short-lived memory
 * context cleans up: comparison functions, loops.
 */
static inline void
ds_embedding_done(DsEmbeddingView *view)
{
	if (unlikely(view->detoasted != NULL))
		pfree(view->detoasted);
}

/* A new value in the current context, all elements zero; dim is checked (22000, 54000). */
extern DsEmbedding *ds_embedding_new(int dim);

/* A new value with these elements; refuses dimensions as above, NaN and infinity (22000). */
extern DsEmbedding *ds_embedding_from(const float *x, int dim);

/* Raise 22000: element i (from 0) is NaN or infinite. */
extern void ds_embedding_not_finite(double x, int i) __attribute__((__noreturn__));

/* Raise 22003 for a result whose elements are not all finite. */
extern void ds_embedding_overflow(void) __attribute__((__noreturn__));

/* Raise 22000 for fewer than one dimension, 54000 for too many. */
extern void ds_embedding_check_dim(int64 dim);

/* Raise 22000 when the type modifier asks for another dimension (-1: any). */
extern void ds_embedding_check_typmod(int dim, int32 typmod);

/* Raise 22000 when two values that are combined differ in dimension. */
extern void ds_embedding_dims_differ(int a, int b) __attribute__((__noreturn__));

/*
 * Read the text form of a vector; NULL after a soft error.  Messages speak of
 * `type', for which numbers of magnitude `limit' and above are out of range.
 */
extern DsEmbedding *ds_embedding_read(const char *text, const char *type, float limit, int32 typmod,
									  Node *escontext);

/*
 * Read the header of the binary form of a vector, and check that as many
 * elements of so many bytes follow; returns the dimension.
 */
extern int ds_embedding_recv_dim(StringInfo message, const char *type, int element, int32 typmod);

static inline void
ds_embedding_check_same_dim(int a, int b)
{
	if (unlikely(a != b))
		ds_embedding_dims_differ(a, b);
}

/* Order: element by element, a prefix before what continues it; < 0, 0, > 0 */
extern int ds_embedding_compare(const DsEmbeddingView *a, const DsEmbeddingView *b);

/* A hash that is the same for equal values, also where they differ in the sign of a zero. */
extern uint64 ds_embedding_hash64(Datum datum, uint64 seed);

#endif /* DS_EMBEDDING_H */
