/*
 * embedding_text.c
 *		The type embedding: its text form, [1,2.5,-3e-05].
 *
 * Output prints the shortest decimal that reads back as the same float4, so a
 * dump is exact.  Input reads the common forms without strtof(), which costs
 * more than all the rest: see ds_read_number().
 */
#include "vector/embedding_text.h"

#include <float.h>
#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* 10^i, exact in double */
static const double power_of_ten[] = {1e0,	1e1,  1e2,	1e3,  1e4,	1e5,  1e6,	1e7,
									  1e8,	1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
									  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* how much of a malformed text an error message quotes, in bytes */
#define QUOTED_BYTES 60

/*
 * Round a double that is within 2 units in its last place of the true value
 * to float.  False when rounding the true value might give another float, or
 * the float's range is left.
 *
 * A float has 24 bits, so 29 bits of the double decide the rounding, and they
 * decide it rightly unless they are next to one half.
 */
static inline bool
round_to_float(double approximate, float *result)
{
	uint64 bits;
	int64 from_half;

	memcpy(&bits, &approximate, sizeof(bits));
	from_half = (int64) (bits & (((uint64) 1 << 29) - 1)) - ((int64) 1 << 28);
	if ((from_half >= -4 && from_half <= 4) || approximate < FLT_MIN || approximate > FLT_MAX)
		return false;
	*result = (float) approximate;
	return true;
}

/*
 * Read a number at *cursor and step over it; over as much of it as there is
 * for DS_NUMBER_NONE.
 *
 * Up to 19 significant digits make an integer, further ones are counted only
 * (the relative error is below 10^-18); it is converted to double and
 * multiplied or divided by an exact power of ten, one rounding each, so the
 * result is within 2 units in the last place, and round_to_float() is almost
 * always certain.  What it is not certain about goes to strtof().
 */
DsNumberKind
ds_read_number(const char **cursor, float *result)
{
	const char *start = *cursor;
	const char *p = start;
	bool negative = false;
	bool any = false;
	uint64 mantissa = 0;
	int digits = 0; /* significant ones in mantissa */
	int64 exponent = 0;
	float value;

	if (*p == '-' || *p == '+')
		negative = *p++ == '-';
	for (; ds_is_digit(*p); p++)
	{
		any = true;
		if (digits < 19)
		{
			mantissa = mantissa * 10 + (uint64) (*p - '0');
			digits += mantissa != 0;
		}
		else
			exponent++;
	}
	if (*p == '.')
	{
		p++;
		for (; ds_is_digit(*p); p++)
		{
			any = true;
			if (digits < 19)
			{
				mantissa = mantissa * 10 + (uint64) (*p - '0');
				digits += mantissa != 0;
				exponent--;
			}
		}
	}
	if (!any)
	{
		if (pg_strncasecmp(p, "nan", 3) == 0)
			return DS_NUMBER_NAN;
		if (pg_strncasecmp(p, "inf", 3) == 0)
			return DS_NUMBER_INFINITE;
		*cursor = p;
		return DS_NUMBER_NONE;
	}
	if (*p == 'e' || *p == 'E')
	{
		const char *q = p + 1;
		bool negative_exponent = false;
		int64 explicit_exponent = 0;

		if (*q == '-' || *q == '+')
			negative_exponent = *q++ == '-';
		if (!ds_is_digit(*q))
		{
			*cursor = q;
			return DS_NUMBER_NONE;
		}
		for (; ds_is_digit(*q); q++)
		{
			if (explicit_exponent < 1000000000)
				explicit_exponent = explicit_exponent * 10 + (*q - '0');
		}
		exponent += negative_exponent ? -explicit_exponent : explicit_exponent;
		p = q;
	}
	*cursor = p;

	if (mantissa == 0)
		value = 0;
	else
	{
		double approximate = (double) mantissa;
		bool certain = false;

		if (exponent >= -22 && exponent <= 22)
		{
			if (exponent < 0)
				approximate /= power_of_ten[-exponent];
			else
				approximate *= power_of_ten[exponent];
			certain = round_to_float(approximate, &value);
		}
		if (!certain)
		{
			/* what was read above is all that strtof() can take, for LC_NUMERIC is C */
			value = fabsf(strtof(start, NULL));
			if (isinf(value))
				return DS_NUMBER_TOO_LARGE;
		}
	}
	*result = negative ? -value : value;
	return DS_NUMBER_FINITE;
}

char *
ds_text_quoted(const char *text, int length)
{
	int clipped = pg_mbcliplen(text, length, QUOTED_BYTES);

	return clipped < length ? psprintf("%.*s...", clipped, text) : pnstrdup(text, length);
}

char *
ds_text_found(const char *p)
{
	return *p == '\0' ? pstrdup("the end of the text") : psprintf("\"%.*s\"", pg_mblen(p), p);
}

/*
 * Read the elements of text into x, which has room for as many as text has
 * commas, plus one.  Returns their number, or -1 after a soft error.
 */
static int
read_elements(const char *text, const char *type, float limit, float *x, Node *escontext)
{
	const char *p = text;
	int dim = 0;
	char *detail;

	while (ds_is_space(*p))
		p++;
	if (*p != '[')
	{
		detail = psprintf("\"[\" is expected, found %s.", ds_text_found(p));
		goto malformed;
	}
	p++;
	while (ds_is_space(*p))
		p++;
	if (*p == ']')
		p++;
	else
	{
		for (;;)
		{
			const char *start = p;
			DsNumberKind kind = ds_read_number(&p, &x[dim]);

			if (kind == DS_NUMBER_FINITE && fabsf(x[dim]) >= limit)
				kind = DS_NUMBER_TOO_LARGE;
			switch (kind)
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
								   errdetail("Element %d.", dim + 1)));
				case DS_NUMBER_TOO_LARGE:
					DS_SOFT_ERROR(escontext, -1,
								  (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
								   errmsg("\"%s\" is out of range for type %s",
										  ds_text_quoted(start, (int) (p - start)), type),
								   errdetail("Element %d.", dim + 1)));
				case DS_NUMBER_NONE:
					detail = psprintf("Element %d: a %s is expected, found %s.", dim + 1,
									  p == start ? "number" : "digit", ds_text_found(p));
					goto malformed;
			}
			dim++;
			while (ds_is_space(*p))
				p++;
			if (*p == ']')
				break;
			if (*p != ',')
			{
				detail = psprintf("After element %d: \",\" or \"]\" is expected, found %s.", dim,
								  ds_text_found(p));
				goto malformed;
			}
			p++;
			while (ds_is_space(*p))
				p++;
		}
		p++;
	}
	while (ds_is_space(*p))
		p++;
	if (*p != '\0')
	{
		detail = psprintf("After the closing \"]\": found %s.", ds_text_found(p));
		goto malformed;
	}
	if (dim == 0)
		DS_SOFT_ERROR(escontext, -1,
					  (errcode(ERRCODE_DATA_EXCEPTION),
					   errmsg("an embedding must have at least 1 dimension")));
	return dim;

malformed:
	DS_SOFT_ERROR(escontext, -1,
				  (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				   errmsg("invalid input syntax for type %s: \"%s\"", type,
						  ds_text_quoted(text, (int) strlen(text))),
				   errdetail_internal("%s", detail), errhint("Write an embedding as [1,2.5,-3].")));
}

DsEmbedding *
ds_embedding_read(const char *text, const char *type, float limit, int32 typmod, Node *escontext)
{
	DsEmbedding *result;
	int room = 1;
	int dim;

	for (const char *p = text; *p != '\0'; p++)
		room += *p == ',';
	if (room > DS_EMBEDDING_MAX_DIM)
		DS_SOFT_ERROR(
			escontext, NULL,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("an embedding cannot have more than %d dimensions", DS_EMBEDDING_MAX_DIM)));
	result = ds_embedding_new(room);
	dim = read_elements(text, type, limit, result->x, escontext);
	if (dim < 0)
		return NULL;
	Assert(dim == room);
	if (typmod >= 0 && typmod != dim)
		DS_SOFT_ERROR(escontext, NULL,
					  (errcode(ERRCODE_DATA_EXCEPTION),
					   errmsg("expected %d dimensions, not %d", typmod, dim)));
	return result;
}

/* embedding_in(cstring, oid, integer) -> embedding */
DS_FUNCTION(ds_embedding_in);
Datum
ds_embedding_in(PG_FUNCTION_ARGS)
{
	DsEmbedding *result = ds_embedding_read(PG_GETARG_CSTRING(0), "embedding", INFINITY,
											PG_GETARG_INT32(2), fcinfo->context);

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_EMBEDDING(result);
}

/* embedding_out(embedding) -> cstring */
DS_FUNCTION(ds_embedding_out);
Datum
ds_embedding_out(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	char *text;
	char *p;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	/* each element with the comma or bracket before it; FLOAT_SHORTEST_DECIMAL_LEN has a NUL */
	text = palloc((Size) view.dim * FLOAT_SHORTEST_DECIMAL_LEN + 2);
	p = text;
	for (int i = 0; i < view.dim; i++)
	{
		*p++ = i == 0 ? '[' : ',';
		p += float_to_shortest_decimal_bufn(view.x[i], p);
	}
	*p++ = ']';
	*p = '\0';
	ds_embedding_done(&view);
	PG_RETURN_CSTRING(text);
}
