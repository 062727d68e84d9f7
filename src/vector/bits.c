/*
 * bits.c
 *		The server's type bit as a code of vectors: the signs of a vector, and
 *		distances between codes.
 */
#include "vector/halfembedding.h"
#include "vector/kernels_bits.h"

#include "utils/varbit.h"

static Datum
signs_of(DsEmbeddingView *view)
{
	VarBit *result = palloc0(VARBITTOTALLEN(view->dim));

	SET_VARSIZE(result, VARBITTOTALLEN(view->dim));
	VARBITLEN(result) = view->dim;
	ds_bits_of_signs(view->x, (size_t) view->dim, VARBITS(result));
	ds_embedding_done(view);
	PG_RETURN_VARBIT_P(result);
}

/* ds_binarize(embedding) -> bit: 1 for an element above zero */
DS_FUNCTION(ds_embedding_binarize);
Datum
ds_embedding_binarize(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	return signs_of(&view);
}

/* ds_binarize(halfembedding) -> bit */
DS_FUNCTION(ds_halfembedding_binarize);
Datum
ds_halfembedding_binarize(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;

	ds_halfembedding_floats(PG_GETARG_DATUM(0), &view);
	return signs_of(&view);
}

/* A bit string to read, in place also where its header is short */
typedef struct BitView
{
	const uint8 *bits;
	Size bytes;
	int32 length;
	void *detoasted; /* or NULL */
} BitView;

static void
view_bits(Datum datum, BitView *view)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(datum);
	struct varlena *packed = pg_detoast_datum_packed(value);
	const char *body = VARDATA_ANY(packed);

	view->detoasted = packed == value ? NULL : packed;
	memcpy(&view->length, body, sizeof(view->length));
	view->bits = (const uint8 *) body + sizeof(view->length);
	view->bytes = VARSIZE_ANY_EXHDR(packed) - sizeof(view->length);
}

static void
view_two(FunctionCallInfo fcinfo, BitView *a, BitView *b)
{
	view_bits(PG_GETARG_DATUM(0), a);
	view_bits(PG_GETARG_DATUM(1), b);
	if (a->length != b->length)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("different bit lengths: %d and %d", a->length, b->length)));
}

static void
done(BitView *view)
{
	if (view->detoasted != NULL)
		pfree(view->detoasted);
}

/* ds_hamming_distance(bit, bit) -> double precision, <~>: bits that differ */
DS_FUNCTION(ds_bit_hamming_distance);
Datum
ds_bit_hamming_distance(PG_FUNCTION_ARGS)
{
	BitView a;
	BitView b;
	double result;

	view_two(fcinfo, &a, &b);
	result = (double) ds_bit_kernels()->hamming(a.bits, b.bits, a.bytes);
	done(&a);
	done(&b);
	PG_RETURN_FLOAT8(result);
}

/* ds_jaccard_distance(bit, bit) -> double precision, <%>: 1 - |a and b| / |a or b| */
DS_FUNCTION(ds_bit_jaccard_distance);
Datum
ds_bit_jaccard_distance(PG_FUNCTION_ARGS)
{
	BitView a;
	BitView b;
	double result;

	view_two(fcinfo, &a, &b);
	result = ds_bit_jaccard(a.bits, b.bits, a.bytes);
	done(&a);
	done(&b);
	PG_RETURN_FLOAT8(result);
}
