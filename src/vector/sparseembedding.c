/*
 * sparseembedding.c
 *		The type sparseembedding: making values, text and binary form, casts.
 *
 * The text form is {index:value,...}/dimension, indices counted from 1, in any
 * order; the binary form is dimension, number of elements and a zero as int32,
 * the indices as int32, counted from 0, and the values as float4, all in network
 * order.  Both are those of pgvector's type sparsevec.
 */
#include "vector/sparseembedding.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "vector/embedding_functions.h"
#include "vector/embedding_text.h"
#include "vector/halfembedding.h"

/* What is wrong with an element */
typedef enum Fault
{
	NO_FAULT,
	OUTSIDE, /* of the dimensions */
	TWICE /* an index */
} Fault;

typedef struct Element
{
	int32 index;
	float value;
} Element;

DsSparseEmbedding *
ds_sparse_new(int32 dim, int32 count)
{
	DsSparseEmbedding *result = palloc0(DS_SPARSE_SIZE(count));

	SET_VARSIZE(result, DS_SPARSE_SIZE(count));
	result->dim = dim;
	result->count = count;
	return result;
}

DsSparseEmbedding *
ds_sparse_get(Datum datum)
{
	DsSparseEmbedding *value = (DsSparseEmbedding *) PG_DETOAST_DATUM(datum);

	if (unlikely(VARSIZE(value) < DS_SPARSE_SIZE(0) || value->count < 0 ||
				 value->count > DS_SPARSE_MAX_COUNT ||
				 VARSIZE(value) != DS_SPARSE_SIZE(value->count)))
		ds_embedding_corrupted();
	return value;
}

static void
check_dim(int64 dim)
{
	if (dim < 1)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("a sparseembedding must have at least 1 dimension")));
	if (dim > DS_SPARSE_MAX_DIM)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a sparseembedding cannot have more than %d dimensions",
							   DS_SPARSE_MAX_DIM)));
}

static void
check_typmod(int32 dim, int32 typmod)
{
	if (typmod >= 0 && typmod != dim)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("expected %d dimensions, not %d", typmod, dim)));
}

static void
too_many(void)
{
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("a sparseembedding cannot have more than %d elements that are not zero",
						   DS_SPARSE_MAX_COUNT)));
}

/* ---- text ---- */

static int
compare_elements(const void *a, const void *b)
{
	int32 x = ((const Element *) a)->index;
	int32 y = ((const Element *) b)->index;

	return (x > y) - (x < y);
}

/* A whole number at *cursor, clamped to what int32 has; false where there is none */
static bool
read_integer(const char **cursor, int64 *result)
{
	const char *p = *cursor;
	bool negative = *p == '-';
	int64 value = 0;

	if (*p == '-' || *p == '+')
		p++;
	*cursor = p;
	if (!ds_is_digit(*p))
		return false;
	for (; ds_is_digit(*p); p++)
		value = Min(value * 10 + (*p - '0'), PG_INT32_MAX);
	*result = negative ? -value : value;
	*cursor = p;
	return true;
}

static inline const char *
skip_space(const char *p)
{
	while (ds_is_space(*p))
		p++;
	return p;
}

/* What was expected at p, for a detail */
#define EXPECTED(what) psprintf("%s is expected, found %s.", what, ds_text_found(p))

/*
 * Read text into *elements and *dim; how many elements there are, or -1 after a
 * soft error.
 */
static int
read_elements(const char *text, Element **elements, int64 *dim, Node *escontext)
{
	const char *p = skip_space(text);
	int room = 1;
	int count = 0;
	char *detail;

	for (const char *q = text; *q != '\0'; q++)
		room += *q == ',';
	if (room > DS_SPARSE_MAX_COUNT)
		too_many();
	*elements = palloc(sizeof(Element) * (Size) room);
	if (*p != '{')
	{
		detail = EXPECTED("\"{\"");
		goto malformed;
	}
	p = skip_space(p + 1);
	while (*p != '}')
	{
		int64 index;
		float value;
		const char *start;

		if (!read_integer(&p, &index))
		{
			detail = EXPECTED("An index");
			goto malformed;
		}
		p = skip_space(p);
		if (*p != ':')
		{
			detail = EXPECTED("\":\"");
			goto malformed;
		}
		p = start = skip_space(p + 1);
		switch (ds_read_number(&p, &value))
		{
			case DS_NUMBER_FINITE:
				break;
			case DS_NUMBER_NAN:
			case DS_NUMBER_INFINITE:
				while (*start == '-' || *start == '+')
					start++;
				DS_SOFT_ERROR(escontext, -1,
							  (errcode(ERRCODE_DATA_EXCEPTION),
							   errmsg("%s is not allowed in an embedding",
									  *start == 'n' || *start == 'N' ? "NaN" : "infinity"),
							   errdetail("Element %d.", (int) index)));
			case DS_NUMBER_TOO_LARGE:
				DS_SOFT_ERROR(escontext, -1,
							  (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							   errmsg("\"%s\" is out of range for type sparseembedding",
									  ds_text_quoted(start, (int) (p - start))),
							   errdetail("Element %d.", (int) index)));
			case DS_NUMBER_NONE:
				detail = EXPECTED("A number");
				goto malformed;
		}
		/* also what is zero counts for the check of indices */
		(*elements)[count].index = (int32) index - 1;
		(*elements)[count++].value = value;
		p = skip_space(p);
		if (*p == '}')
			break;
		if (*p != ',')
		{
			detail = EXPECTED("\",\" or \"}\"");
			goto malformed;
		}
		p = skip_space(p + 1);
		if (*p == '}')
		{
			detail = EXPECTED("An index");
			goto malformed;
		}
	}
	p = skip_space(p + 1);
	if (*p != '/')
	{
		detail = EXPECTED("\"/\" and the number of dimensions");
		goto malformed;
	}
	p = skip_space(p + 1);
	if (!read_integer(&p, dim))
	{
		detail = EXPECTED("The number of dimensions");
		goto malformed;
	}
	p = skip_space(p);
	if (*p != '\0')
	{
		detail = psprintf("After the number of dimensions: found %s.", ds_text_found(p));
		goto malformed;
	}
	return count;

malformed:
	DS_SOFT_ERROR(escontext, -1,
				  (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				   errmsg("invalid input syntax for type sparseembedding: \"%s\"",
						  ds_text_quoted(text, (int) strlen(text))),
				   errdetail_internal("%s", detail),
				   errhint("Write a sparse embedding of 10 dimensions as {1:0.5,3:-2}/10.")));
}

/* The first element of sorted ones that is not allowed */
static Fault
find_fault(const Element *elements, int count, int64 dim, int *at)
{
	for (int i = 0; i < count; i++)
	{
		*at = i;
		if (elements[i].index < 0 || elements[i].index >= dim)
			return OUTSIDE;
		if (i > 0 && elements[i].index == elements[i - 1].index)
			return TWICE;
	}
	return NO_FAULT;
}

static void
raise_fault(Fault fault, int64 index, int64 dim)
{
	if (fault == OUTSIDE)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("index " INT64_FORMAT " is not among " INT64_FORMAT " dimensions",
							   index, dim)));
	ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
					errmsg("index " INT64_FORMAT " occurs more than once", index)));
}

/* sparseembedding_in(cstring, oid, integer) -> sparseembedding */
DS_FUNCTION(ds_sparseembedding_in);
Datum
ds_sparseembedding_in(PG_FUNCTION_ARGS)
{
	Element *elements;
	DsSparseEmbedding *result;
	float *values;
	int64 dim = 0;
	int count = read_elements(PG_GETARG_CSTRING(0), &elements, &dim, fcinfo->context);
	int kept = 0;
	int at = 0;
	Fault fault;

	if (count < 0)
		PG_RETURN_NULL();
	check_dim(dim);
	check_typmod((int32) dim, PG_GETARG_INT32(2));
	qsort(elements, (size_t) count, sizeof(Element), compare_elements);
	fault = find_fault(elements, count, dim, &at);
	if (fault != NO_FAULT)
		raise_fault(fault, (int64) elements[at].index + 1, dim);
	for (int i = 0; i < count; i++)
		if (elements[i].value != 0)
			elements[kept++] = elements[i];
	result = ds_sparse_new((int32) dim, kept);
	values = ds_sparse_values(result);
	for (int i = 0; i < kept; i++)
	{
		result->index[i] = elements[i].index;
		values[i] = elements[i].value;
	}
	pfree(elements);
	PG_RETURN_POINTER(result);
}

/* sparseembedding_out(sparseembedding) -> cstring */
DS_FUNCTION(ds_sparseembedding_out);
Datum
ds_sparseembedding_out(PG_FUNCTION_ARGS)
{
	DsSparseEmbedding *value = ds_sparse_get(PG_GETARG_DATUM(0));
	const float *values = ds_sparse_values(value);
	/* an int32 has up to 11 characters */
	char *text = palloc((Size) value->count * (13 + FLOAT_SHORTEST_DECIMAL_LEN) + 16);
	char *p = text;

	*p++ = '{';
	for (int i = 0; i < value->count; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += pg_ltoa(value->index[i] + 1, p);
		*p++ = ':';
		p += float_to_shortest_decimal_bufn(values[i], p);
	}
	*p++ = '}';
	*p++ = '/';
	(void) pg_ltoa(value->dim, p);
	PG_RETURN_CSTRING(text);
}

/* sparseembedding_typmod_in(cstring[]) -> integer: the dimension of sparseembedding(30522) */
DS_FUNCTION(ds_sparseembedding_typmod_in);
Datum
ds_sparseembedding_typmod_in(PG_FUNCTION_ARGS)
{
	int count;
	int32 *modifiers = ArrayGetIntegerTypmods(PG_GETARG_ARRAYTYPE_P(0), &count);

	if (count != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the type takes one modifier, its number of dimensions")));
	if (modifiers[0] < 1 || modifiers[0] > DS_SPARSE_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a sparseembedding has between 1 and %d dimensions", DS_SPARSE_MAX_DIM)));
	PG_RETURN_INT32(modifiers[0]);
}

/* ---- binary ---- */

static void
malformed_binary(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					errmsg("invalid binary format of type sparseembedding"),
					errdetail_internal("%s", detail)));
}

/* sparseembedding_recv(internal, oid, integer) -> sparseembedding */
DS_FUNCTION(ds_sparseembedding_recv);
Datum
ds_sparseembedding_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int size = message->len - message->cursor;
	DsSparseEmbedding *result;
	float *values;
	int32 dim;
	int32 count;
	int32 unused;

	if (size < 12)
		malformed_binary(psprintf("%d bytes are too short for its header.", size));
	dim = (int32) pq_getmsgint(message, sizeof(int32));
	count = (int32) pq_getmsgint(message, sizeof(int32));
	unused = (int32) pq_getmsgint(message, sizeof(int32));
	if (unused != 0)
		malformed_binary(psprintf("The third field is %d, not zero.", unused));
	check_dim(dim);
	if (count < 0 || count > dim)
		malformed_binary(psprintf("The number of elements is %d, of %d dimensions.", count, dim));
	if (count > DS_SPARSE_MAX_COUNT)
		too_many();
	if (size != 12 + 8 * count)
		malformed_binary(
			psprintf("%d elements need %d bytes, not %d.", count, 12 + 8 * count, size));
	check_typmod(dim, PG_GETARG_INT32(2));
	result = ds_sparse_new(dim, count);
	values = ds_sparse_values(result);
	for (int i = 0; i < count; i++)
	{
		result->index[i] = (int32) pq_getmsgint(message, sizeof(int32));
		if (result->index[i] < 0 || result->index[i] >= dim)
			raise_fault(OUTSIDE, (int64) result->index[i] + 1, dim);
		if (i > 0 && result->index[i] == result->index[i - 1])
			raise_fault(TWICE, (int64) result->index[i] + 1, dim);
		if (i > 0 && result->index[i] < result->index[i - 1])
			malformed_binary("Its indices do not ascend.");
	}
	for (int i = 0; i < count; i++)
	{
		values[i] = pq_getmsgfloat4(message);
		if (!isfinite(values[i]))
			ds_embedding_not_finite(values[i], result->index[i]);
		if (values[i] == 0)
			malformed_binary(psprintf("Element %d is zero.", result->index[i] + 1));
	}
	PG_RETURN_POINTER(result);
}

/* sparseembedding_send(sparseembedding) -> bytea */
DS_FUNCTION(ds_sparseembedding_send);
Datum
ds_sparseembedding_send(PG_FUNCTION_ARGS)
{
	DsSparseEmbedding *value = ds_sparse_get(PG_GETARG_DATUM(0));
	const float *values = ds_sparse_values(value);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendint32(&message, (uint32) value->dim);
	pq_sendint32(&message, (uint32) value->count);
	pq_sendint32(&message, 0);
	for (int i = 0; i < value->count; i++)
		pq_sendint32(&message, (uint32) value->index[i]);
	for (int i = 0; i < value->count; i++)
		pq_sendfloat4(&message, values[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/* ---- casts ---- */

/* sparseembedding(sparseembedding, integer, boolean) -> sparseembedding: the length coercion */
DS_FUNCTION(ds_sparseembedding_coerce);
Datum
ds_sparseembedding_coerce(PG_FUNCTION_ARGS)
{
	DsSparseEmbedding *value = ds_sparse_get(PG_GETARG_DATUM(0));

	check_typmod(value->dim, PG_GETARG_INT32(1));
	PG_RETURN_POINTER(value);
}

static Datum
sparse_of(const float *x, int dim, int32 typmod)
{
	DsSparseEmbedding *result;
	float *values;
	int count = 0;

	check_typmod(dim, typmod);
	for (int i = 0; i < dim; i++)
		count += x[i] != 0;
	result = ds_sparse_new(dim, count);
	values = ds_sparse_values(result);
	for (int i = 0, at = 0; i < dim; i++)
		if (x[i] != 0)
		{
			result->index[at] = i;
			values[at++] = x[i];
		}
	PG_RETURN_POINTER(result);
}

/* sparseembedding(embedding, integer, boolean) -> sparseembedding */
DS_FUNCTION(ds_sparseembedding_from_embedding);
Datum
ds_sparseembedding_from_embedding(PG_FUNCTION_ARGS)
{
	const DsEmbedding *value = PG_GETARG_EMBEDDING(0);

	return sparse_of(value->x, value->dim, PG_GETARG_INT32(1));
}

/* sparseembedding(halfembedding, integer, boolean) -> sparseembedding */
DS_FUNCTION(ds_sparseembedding_from_half);
Datum
ds_sparseembedding_from_half(PG_FUNCTION_ARGS)
{
	const DsEmbedding *value = ds_halfembedding_widen(PG_GETARG_DATUM(0));

	return sparse_of(value->x, value->dim, PG_GETARG_INT32(1));
}

/* sparseembedding(real[] | double precision[] | integer[] | numeric[], integer, boolean) */
DS_FUNCTION(ds_sparseembedding_from_array);
Datum
ds_sparseembedding_from_array(PG_FUNCTION_ARGS)
{
	const DsEmbedding *value = DatumGetEmbedding(DirectFunctionCall3(
		ds_embedding_from_array, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)));

	return sparse_of(value->x, value->dim, -1);
}

static DsEmbedding *
embedding_of(Datum datum)
{
	const DsSparseEmbedding *value = ds_sparse_get(datum);
	const float *values = ds_sparse_values(value);
	DsEmbedding *result = ds_embedding_new(value->dim);

	for (int i = 0; i < value->count; i++)
	{
		if (value->index[i] < 0 || value->index[i] >= value->dim)
			ds_embedding_corrupted();
		result->x[value->index[i]] = values[i];
	}
	return result;
}

/* embedding(sparseembedding, integer, boolean) -> embedding: 54000 where it is too long */
DS_FUNCTION(ds_sparseembedding_to_embedding);
Datum
ds_sparseembedding_to_embedding(PG_FUNCTION_ARGS)
{
	DsEmbedding *result = embedding_of(PG_GETARG_DATUM(0));

	ds_embedding_check_typmod(result->dim, PG_GETARG_INT32(1));
	PG_RETURN_EMBEDDING(result);
}

/* halfembedding(sparseembedding, integer, boolean) -> halfembedding */
DS_FUNCTION(ds_sparseembedding_to_half);
Datum
ds_sparseembedding_to_half(PG_FUNCTION_ARGS)
{
	const DsEmbedding *value = embedding_of(PG_GETARG_DATUM(0));

	ds_embedding_check_typmod(value->dim, PG_GETARG_INT32(1));
	PG_RETURN_POINTER(ds_halfembedding_from(value->x, value->dim));
}

/* sparseembedding_to_real(sparseembedding) -> real[] */
DS_FUNCTION(ds_sparseembedding_to_real);
Datum
ds_sparseembedding_to_real(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(ds_embedding_to_real,
							   EmbeddingGetDatum(embedding_of(PG_GETARG_DATUM(0))));
}
