/*
 * filter_keys.c
 *		The support functions of filter columns' operator classes: what number a
 *		value is.  See filter.h for what must hold.
 *
 * Types that are compared with each other have numbers of the same scale:
 * integers are themselves, floats the bits of the double in an order that is
 * that of the values, dates and timestamps microseconds.
 */
#include "index/index.h"

#include <math.h>

#include "common/hashfn.h"
#include "common/int.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

DS_FUNCTION(ds_filter_order_bool);
DS_FUNCTION(ds_filter_order_int2);
DS_FUNCTION(ds_filter_order_int4);
DS_FUNCTION(ds_filter_order_int8);
DS_FUNCTION(ds_filter_order_float4);
DS_FUNCTION(ds_filter_order_float8);
DS_FUNCTION(ds_filter_order_numeric);
DS_FUNCTION(ds_filter_order_date);
DS_FUNCTION(ds_filter_order_timestamp);
DS_FUNCTION(ds_filter_order_timestamptz);
DS_FUNCTION(ds_filter_order_date_tz);
DS_FUNCTION(ds_filter_order_timestamp_tz);
DS_FUNCTION(ds_filter_order_time);
DS_FUNCTION(ds_filter_order_timetz);
DS_FUNCTION(ds_filter_order_interval);
DS_FUNCTION(ds_filter_order_text);
DS_FUNCTION(ds_filter_order_bpchar);
DS_FUNCTION(ds_filter_order_uuid);
DS_FUNCTION(ds_filter_hash_text);
DS_FUNCTION(ds_filter_hash_bpchar);
DS_FUNCTION(ds_filter_hash_uuid);
DS_FUNCTION(ds_filter_hash_enum);

Datum
ds_filter_order_bool(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_BOOL(0) ? 1 : 0);
}

Datum
ds_filter_order_int2(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_INT16(0));
}

Datum
ds_filter_order_int4(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_INT32(0));
}

Datum
ds_filter_order_int8(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_INT64(0));
}

/* The server's order of floats: zeros are equal, NaN is above all. */
static int64
order_float(double x)
{
	int64 bits;

	if (isnan(x))
		x = NAN; /* one of the many */
	if (x == 0)
		x = 0; /* not the negative one */
	memcpy(&bits, &x, sizeof(bits));
	if (isnan(x))
		bits &= PG_INT64_MAX;
	return bits < 0 ? bits ^ PG_INT64_MAX : bits;
}

Datum
ds_filter_order_float4(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(order_float(PG_GETARG_FLOAT4(0)));
}

Datum
ds_filter_order_float8(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(order_float(PG_GETARG_FLOAT8(0)));
}

/* The nearest double: rounding keeps the order. */
Datum
ds_filter_order_numeric(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(order_float(
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, PG_GETARG_DATUM(0)))));
}

/* Dates that no timestamp reaches are as large as infinity. */
Datum
ds_filter_order_date(PG_FUNCTION_ARGS)
{
	int overflow;

	PG_RETURN_INT64(date2timestamp_opt_overflow(PG_GETARG_DATEADT(0), &overflow));
}

Datum
ds_filter_order_timestamp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_TIMESTAMP(0));
}

Datum
ds_filter_order_timestamptz(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_TIMESTAMPTZ(0));
}

/* Compared with a timestamptz: what the session's time zone makes of it */
Datum
ds_filter_order_date_tz(PG_FUNCTION_ARGS)
{
	int overflow;

	PG_RETURN_INT64(date2timestamptz_opt_overflow(PG_GETARG_DATEADT(0), &overflow));
}

Datum
ds_filter_order_timestamp_tz(PG_FUNCTION_ARGS)
{
	int overflow;

	PG_RETURN_INT64(timestamp2timestamptz_opt_overflow(PG_GETARG_TIMESTAMP(0), &overflow));
}

Datum
ds_filter_order_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_TIMEADT(0));
}

/* By the moment; times of one moment in different zones have one number. */
Datum
ds_filter_order_timetz(PG_FUNCTION_ARGS)
{
	TimeTzADT *time = PG_GETARG_TIMETZADT_P(0);

	PG_RETURN_INT64(time->time + (int64) time->zone * USECS_PER_SEC);
}

/* A month is 30 days, as interval_cmp() has it. */
Datum
ds_filter_order_interval(PG_FUNCTION_ARGS)
{
	Interval *interval = PG_GETARG_INTERVAL_P(0);
	double days = interval->month * 30.0 + interval->day;
	int64 whole = (int64) interval->month * 30 + interval->day;
	int64 product;
	int64 sum;

	if (pg_mul_s64_overflow(whole, USECS_PER_DAY, &product) ||
		pg_add_s64_overflow(product, interval->time, &sum))
		PG_RETURN_INT64(days < 0 ? PG_INT64_MIN : PG_INT64_MAX);
	PG_RETURN_INT64(sum);
}

/* The first eight bytes; shorter ones are filled up with zeros, which no text has. */
static int64
order_bytes(const char *data, Size size)
{
	uint64 number = 0;

	memcpy(&number, data, Min(size, sizeof(number)));
	number = pg_ntoh64(number);
	return (int64) (number ^ (uint64) PG_INT64_MIN);
}

/*
 * Of a text, as a collation orders it: the first bytes of its sort key, or its
 * own.  A sort key that is shorter is filled up with zeros, which none has.
 */
static int64
order_collated(const char *data, Size size, Oid collation)
{
	char key[sizeof(uint64)] = {0};
	char *copy;

	if (!OidIsValid(collation) || DS_COLLATION_IS_C(collation) ||
		!DS_COLLATION_HAS_PREFIX(collation))
		return order_bytes(data, size);
	copy = pnstrdup(data, size);
	(void) DS_COLLATION_PREFIX(key, sizeof(key), copy, collation);
	pfree(copy);
	return order_bytes(key, sizeof(key));
}

Datum
ds_filter_order_text(PG_FUNCTION_ARGS)
{
	text *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT64(
		order_collated(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), PG_GET_COLLATION()));
}

/* Blanks at the end do not count. */
Datum
ds_filter_order_bpchar(PG_FUNCTION_ARGS)
{
	BpChar *value = PG_GETARG_BPCHAR_PP(0);
	const char *data = VARDATA_ANY(value);

	PG_RETURN_INT64(order_collated(data, bpchartruelen((char *) data, VARSIZE_ANY_EXHDR(value)),
								   PG_GET_COLLATION()));
}

Datum
ds_filter_order_uuid(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(order_bytes((const char *) PG_GETARG_UUID_P(0)->data, UUID_LEN));
}

/* The collation decides which texts are equal. */
Datum
ds_filter_hash_text(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall2Coll(hashtextextended, PG_GET_COLLATION(), PG_GETARG_DATUM(0),
								   Int64GetDatum(0));
}

Datum
ds_filter_hash_bpchar(PG_FUNCTION_ARGS)
{
	BpChar *value = PG_GETARG_BPCHAR_PP(0);
	char *data = VARDATA_ANY(value);
	text *trimmed = cstring_to_text_with_len(data, bpchartruelen(data, VARSIZE_ANY_EXHDR(value)));

	/* hashbpcharextended() does not ask the collation which ones are equal */
	return DirectFunctionCall2Coll(hashtextextended, PG_GET_COLLATION(), PointerGetDatum(trimmed),
								   Int64GetDatum(0));
}

Datum
ds_filter_hash_uuid(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) hash_bytes_extended(PG_GETARG_UUID_P(0)->data, UUID_LEN, 0));
}

/* The row of pg_enum; its place in the order of the type may change. */
Datum
ds_filter_hash_enum(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_OID(0));
}
