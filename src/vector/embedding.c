/*
 * embedding.c
 *		The type embedding: making values, the checks that all its parts share,
 *		type modifiers and the binary format.
 *
 * The binary format is the dimension as int16, an int16 that is zero, and the
 * elements as float4, all in network order, which is the format of pgvector's
 * type vector: a driver that knows that type reads and writes this one.
 */
#include "vector/embedding.h"

#include <math.h>

#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/array.h"

DsEmbedding *
ds_embedding_new(int dim)
{
	DsEmbedding *result;

	ds_embedding_check_dim(dim);
	result = palloc0(DS_EMBEDDING_SIZE(dim));
	SET_VARSIZE(result, DS_EMBEDDING_SIZE(dim));
	result->dim = (int16) dim;
	return result;
}

DsEmbedding *
ds_embedding_from(const float *x, int dim)
{
	DsEmbedding *result = ds_embedding_new(dim);

	for (int i = 0; i < dim; i++)
	{
		if (unlikely(!isfinite(x[i])))
			ds_embedding_not_finite(x[i], i);
		result->x[i] = x[i];
	}
	return result;
}

void
ds_embedding_not_finite(double x, int i)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
					errmsg("%s is not allowed in an embedding", isnan(x) ? "NaN" : "infinity"),
					errdetail("Element %d.", i + 1)));
}

void
ds_embedding_check_dim(int64 dim)
{
	if (unlikely(dim < 1))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("an embedding must have at least 1 dimension")));
	if (unlikely(dim > DS_EMBEDDING_MAX_DIM))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an embedding cannot have more than %d dimensions", DS_EMBEDDING_MAX_DIM)));
}

void
ds_embedding_check_typmod(int dim, int32 typmod)
{
	if (unlikely(typmod >= 0 && typmod != dim))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("expected %d dimensions, not %d", typmod, dim)));
}

void
ds_embedding_dims_differ(int a, int b)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
					errmsg("different embedding dimensions: %d and %d", a, b)));
}

void
ds_embedding_overflow(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("value out of range: overflow"),
			 errdetail("An element of the result does not fit into a real.")));
}

void
ds_embedding_corrupted(void)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("a stored embedding is damaged: its size and its dimension disagree")));
}

/* embedding_typmod_in(cstring[]) -> integer: the dimension of embedding(128) */
DS_FUNCTION(ds_embedding_typmod_in);
Datum
ds_embedding_typmod_in(PG_FUNCTION_ARGS)
{
	int count;
	int32 *modifiers = ArrayGetIntegerTypmods(PG_GETARG_ARRAYTYPE_P(0), &count);

	if (count != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the type takes one modifier, its number of dimensions")));
	if (modifiers[0] < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("an embedding must have at least 1 dimension")));
	if (modifiers[0] > DS_EMBEDDING_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an embedding cannot have more than %d dimensions", DS_EMBEDDING_MAX_DIM)));
	PG_RETURN_INT32(modifiers[0]);
}

/* embedding(embedding, integer, boolean) -> embedding: the length coercion */
DS_FUNCTION(ds_embedding_coerce);
Datum
ds_embedding_coerce(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	ds_embedding_check_typmod(view.dim, PG_GETARG_INT32(1));
	ds_embedding_done(&view);
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/*
 * Floats in network order.  All at once, for the compiler: a value at a time
 * was a tenth of a COPY in binary format.
 */
static void
floats_from_network(const char *from, int count, float *to)
{
	uint32 above = 0;

	for (int i = 0; i < count; i++)
	{
		uint32 bits;

		memcpy(&bits, from + i * sizeof(float), sizeof(bits));
		bits = pg_ntoh32(bits);
		/* what is not finite has all bits of the exponent set */
		above |= (bits & 0x7f800000) + 0x00800000;
		memcpy(to + i, &bits, sizeof(bits));
	}
	if (likely((above & 0x80000000) == 0))
		return;
	for (int i = 0; i < count; i++)
		if (!isfinite(to[i]))
			ds_embedding_not_finite(to[i], i);
}

int
ds_embedding_recv_dim(StringInfo message, const char *type, int element, int32 typmod)
{
	int size = message->len - message->cursor;
	int dim;
	int unused;

	if (size < 4)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary format of type %s", type),
						errdetail("%d bytes are too short for its header.", size)));
	dim = (int16) pq_getmsgint(message, sizeof(int16));
	unused = (int16) pq_getmsgint(message, sizeof(int16));
	if (dim < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary format of type %s", type),
						errdetail("The number of dimensions is %d.", dim)));
	if (unused != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary format of type %s", type),
						errdetail("The second field is %d, not zero.", unused)));
	ds_embedding_check_dim(dim);
	if (size != 4 + dim * element)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary format of type %s", type),
				 errdetail("%d dimensions need %d bytes, not %d.", dim, 4 + dim * element, size)));
	ds_embedding_check_typmod(dim, typmod);
	return dim;
}

/* embedding_recv(internal, oid, integer) -> embedding */
DS_FUNCTION(ds_embedding_recv);
Datum
ds_embedding_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int dim = ds_embedding_recv_dim(message, "embedding", sizeof(float), PG_GETARG_INT32(2));
	DsEmbedding *result = ds_embedding_new(dim);

	floats_from_network(pq_getmsgbytes(message, dim * (int) sizeof(float)), dim, result->x);
	PG_RETURN_EMBEDDING(result);
}

/* embedding_send(embedding) -> bytea */
DS_FUNCTION(ds_embedding_send);
Datum
ds_embedding_send(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	StringInfoData message;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	pq_begintypsend(&message);
	enlargeStringInfo(&message, 4 + view.dim * (int) sizeof(float));
	pq_sendint16(&message, (uint16) view.dim);
	pq_sendint16(&message, 0);
	for (int i = 0; i < view.dim; i++, message.len += sizeof(float))
	{
		uint32 bits;

		memcpy(&bits, view.x + i, sizeof(bits));
		bits = pg_hton32(bits);
		memcpy(message.data + message.len, &bits, sizeof(bits));
	}
	ds_embedding_done(&view);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}
