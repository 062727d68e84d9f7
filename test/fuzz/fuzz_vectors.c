/*
 * fuzz_vectors.c
 *		The text forms of embedding, halfembedding and sparseembedding: any text.
 *
 * These files belong to the server, so what they call of it is here, as small as it can be:
 * palloc() is malloc(), and an error jumps out of the call.  The first byte of an input is
 * the type (modulo 3), the second the type modifier (0: none), the rest the text.
 *
 * What is read must be well formed, and come back from its text form to the byte.
 */
#include "server.h"

#include <math.h>
#include <setjmp.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"

#include "vector/embedding.h"
#include "vector/half.h"
#include "vector/halfembedding.h"
#include "vector/sparseembedding.h"

#undef malloc
#undef free

/* ---- what is left of the server ---- */

static void *blocks[4096];
static size_t block_count;
static jmp_buf error;

static void *
keep(void *block)
{
	if (block == NULL || block_count == lengthof(blocks))
		abort();
	blocks[block_count++] = block;
	return block;
}

static void
free_all(void)
{
	while (block_count > 0)
		free(blocks[--block_count]);
}

void *
palloc(Size size)
{
	return keep(malloc(size + !size));
}

void *
palloc0(Size size)
{
	return keep(calloc(1, size + !size));
}

void
pfree(void *pointer)
{
	for (size_t i = 0; i < block_count; i++)
		if (blocks[i] == pointer)
		{
			blocks[i] = blocks[--block_count];
			free(pointer);
			return;
		}
	abort();
}

char *
pnstrdup(const char *in, Size length)
{
	Size n = strnlen(in, length);
	char *copy = palloc(n + 1);

	memcpy(copy, in, n);
	copy[n] = '\0';
	return copy;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

/* so that the sanitizer sees what a format prints */
char *
psprintf(const char *format, ...)
{
	char text[4096];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (n < 0 || n >= (int) sizeof(text))
		abort();
	return pnstrdup(text, (Size) n);
}

extern void never(void); /* the Makefile's NEVER */
void
never(void)
{
	abort();
}

bool
errstart(int level pg_attribute_unused(), const char *domain pg_attribute_unused())
{
	return true;
}

bool
errstart_cold(int level pg_attribute_unused(), const char *domain pg_attribute_unused())
{
	return true;
}

int
errcode(int code)
{
	return code;
}

#define MESSAGE(name)                                            \
	int name(const char *format, ...)                            \
	{                                                            \
		char text[4096];                                         \
		va_list arguments;                                       \
		va_start(arguments, format);                             \
		(void) vsnprintf(text, sizeof(text), format, arguments); \
		va_end(arguments);                                       \
		return 0;                                                \
	}
MESSAGE(errmsg)
MESSAGE(errmsg_internal)
MESSAGE(errdetail)
MESSAGE(errdetail_internal)
MESSAGE(errhint)

void
errfinish(const char *file pg_attribute_unused(), int line pg_attribute_unused(),
		  const char *function pg_attribute_unused())
{
	longjmp(error, 1);
}

/* UTF-8, as far as the text goes */
int
pg_mblen(const char *p)
{
	int wanted = (unsigned char) *p < 0xC0	 ? 1
				 : (unsigned char) *p < 0xE0 ? 2
				 : (unsigned char) *p < 0xF0 ? 3
											 : 4;
	int n = 1;

	while (n < wanted && p[n] != '\0')
		n++;
	return n;
}

int
pg_mbcliplen(const char *text, int length, int limit)
{
	int at = 0;

	while (at < length && text[at] != '\0' && at + pg_mblen(text + at) <= limit)
		at += pg_mblen(text + at);
	return at;
}

int
pg_ltoa(int32 value, char *text)
{
	return sprintf(text, "%d", value);
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

Datum
DirectFunctionCall1Coll(PGFunction function, Oid collation, Datum argument)
{
	LOCAL_FCINFO(call, 1);

	InitFunctionCallInfoData(*call, NULL, 1, collation, NULL, NULL);
	call->args[0].value = argument;
	call->args[0].isnull = false;
	return function(call);
}

/* ---- the types ---- */

extern Datum ds_embedding_in(PG_FUNCTION_ARGS);
extern Datum ds_embedding_out(PG_FUNCTION_ARGS);
extern Datum ds_halfembedding_in(PG_FUNCTION_ARGS);
extern Datum ds_halfembedding_out(PG_FUNCTION_ARGS);
extern Datum ds_sparseembedding_in(PG_FUNCTION_ARGS);
extern Datum ds_sparseembedding_out(PG_FUNCTION_ARGS);

static void
check_embedding(const DsEmbedding *value)
{
	if (value->dim < 1 || value->dim > DS_EMBEDDING_MAX_DIM)
		abort();
	for (int i = 0; i < value->dim; i++)
		if (!isfinite(value->x[i]))
			abort();
}

static void
check_half(const DsHalfEmbedding *value)
{
	if (value->dim < 1 || value->dim > DS_EMBEDDING_MAX_DIM ||
		VARSIZE(value) != DS_HALFEMBEDDING_SIZE(value->dim))
		abort();
	for (int i = 0; i < value->dim; i++)
		if (!ds_half_is_finite(value->x[i]))
			abort();
}

static void
check_sparse(DsSparseEmbedding *value)
{
	const float *values = ds_sparse_values(value);

	if (value->dim < 1 || value->dim > DS_SPARSE_MAX_DIM || value->count < 0 ||
		value->count > DS_SPARSE_MAX_COUNT || VARSIZE(value) != DS_SPARSE_SIZE(value->count))
		abort();
	for (int i = 0; i < value->count; i++)
		if (value->index[i] < 0 || value->index[i] >= value->dim ||
			(i > 0 && value->index[i] <= value->index[i - 1]) || !isfinite(values[i]) ||
			values[i] == 0)
			abort();
}

static Datum
read_text(PGFunction in, const char *text, int32 typmod)
{
	LOCAL_FCINFO(call, 3);
	Datum result;

	InitFunctionCallInfoData(*call, NULL, 3, InvalidOid, NULL, NULL);
	call->args[0].value = CStringGetDatum(text);
	call->args[1].value = ObjectIdGetDatum(InvalidOid);
	call->args[2].value = Int32GetDatum(typmod);
	for (int i = 0; i < 3; i++)
		call->args[i].isnull = false;
	result = in(call);
	if (call->isnull)
		abort();
	return result;
}

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const PGFunction in[] = {ds_embedding_in, ds_halfembedding_in, ds_sparseembedding_in};
	static const PGFunction out[] = {ds_embedding_out, ds_halfembedding_out,
									 ds_sparseembedding_out};
	unsigned type;
	int32 typmod;
	char *text;

	if (size < 2)
		return 0;
	type = data[0] % 3;
	typmod = data[1] == 0 ? -1 : data[1];
	text = pnstrdup((const char *) data + 2, size - 2);
	if (setjmp(error) == 0)
	{
		struct varlena *value =
			(struct varlena *) DatumGetPointer(read_text(in[type], text, typmod));
		struct varlena *again;

		if (type == 0)
			check_embedding((DsEmbedding *) value);
		else if (type == 1)
			check_half((DsHalfEmbedding *) value);
		else
			check_sparse((DsSparseEmbedding *) value);
		text =
			DatumGetCString(DirectFunctionCall1Coll(out[type], InvalidOid, PointerGetDatum(value)));
		/* what was written is no error */
		if (setjmp(error) != 0)
			abort();
		again = (struct varlena *) DatumGetPointer(read_text(in[type], text, typmod));
		if (VARSIZE(again) != VARSIZE(value) || memcmp(again, value, VARSIZE(value)) != 0)
			abort();
	}
	free_all();
	return 0;
}
