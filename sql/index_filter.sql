-- Filter columns: operator classes for the index columns behind the embedding.
--
-- Strategies 1 to 5 are those of a B-tree.  FUNCTION 1 gives a number in the
-- order of the values, FUNCTION 2 one that differs when values do: filter.h.

CREATE FUNCTION ds_filter_order(boolean) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_bool' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(boolean) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(smallint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_int2' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(smallint) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(integer) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_int4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(integer) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_int8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(bigint) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(real) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_float4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(real) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(double precision) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_float8' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(double precision) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(numeric) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_numeric' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(numeric) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(date) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(date) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(timestamp) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_timestamp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(timestamp) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(timestamptz) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(timestamptz) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(time) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_time' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(time) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(timetz) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_timetz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(timetz) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(interval) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_interval' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(interval) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(text) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(character) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_bpchar' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(character) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_order(uuid) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_uuid' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order(uuid) IS
	'number by which a filter column is tested: in the order of the values';

CREATE FUNCTION ds_filter_hash(text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_hash_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_hash(text) IS
	'number by which a filter column is tested: equal for equal values';

CREATE FUNCTION ds_filter_hash(character) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_hash_bpchar' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_hash(character) IS
	'number by which a filter column is tested: equal for equal values';

CREATE FUNCTION ds_filter_hash(uuid) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_hash_uuid' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_hash(uuid) IS
	'number by which a filter column is tested: equal for equal values';

CREATE FUNCTION ds_filter_hash(anyenum) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_hash_enum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_hash(anyenum) IS
	'number by which a filter column is tested: equal for equal values';

CREATE FUNCTION ds_filter_order_tz(date) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_date_tz' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order_tz(date) IS
	'number of a date that is compared with a timestamptz column';

CREATE FUNCTION ds_filter_order_tz(timestamp) RETURNS bigint
	AS 'MODULE_PATHNAME', 'ds_filter_order_timestamp_tz' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_filter_order_tz(timestamp) IS
	'number of a timestamp that is compared with a timestamptz column';

CREATE OPERATOR FAMILY integer_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY integer_ops USING deepsearch IS 'filter columns of integers';

CREATE OPERATOR CLASS int2_ops DEFAULT FOR TYPE smallint USING deepsearch FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(smallint);
COMMENT ON OPERATOR CLASS int2_ops USING deepsearch IS 'filter column of type smallint';

CREATE OPERATOR CLASS int4_ops DEFAULT FOR TYPE integer USING deepsearch FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(integer);
COMMENT ON OPERATOR CLASS int4_ops USING deepsearch IS 'filter column of type integer';

CREATE OPERATOR CLASS int8_ops DEFAULT FOR TYPE bigint USING deepsearch FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(bigint);
COMMENT ON OPERATOR CLASS int8_ops USING deepsearch IS 'filter column of type bigint';

ALTER OPERATOR FAMILY integer_ops USING deepsearch ADD
	OPERATOR 1 < (smallint, integer),
	OPERATOR 2 <= (smallint, integer),
	OPERATOR 3 = (smallint, integer),
	OPERATOR 4 >= (smallint, integer),
	OPERATOR 5 > (smallint, integer),
	FUNCTION 1 (smallint, integer) ds_filter_order(integer),
	OPERATOR 1 < (smallint, bigint),
	OPERATOR 2 <= (smallint, bigint),
	OPERATOR 3 = (smallint, bigint),
	OPERATOR 4 >= (smallint, bigint),
	OPERATOR 5 > (smallint, bigint),
	FUNCTION 1 (smallint, bigint) ds_filter_order(bigint),
	OPERATOR 1 < (integer, smallint),
	OPERATOR 2 <= (integer, smallint),
	OPERATOR 3 = (integer, smallint),
	OPERATOR 4 >= (integer, smallint),
	OPERATOR 5 > (integer, smallint),
	FUNCTION 1 (integer, smallint) ds_filter_order(smallint),
	OPERATOR 1 < (integer, bigint),
	OPERATOR 2 <= (integer, bigint),
	OPERATOR 3 = (integer, bigint),
	OPERATOR 4 >= (integer, bigint),
	OPERATOR 5 > (integer, bigint),
	FUNCTION 1 (integer, bigint) ds_filter_order(bigint),
	OPERATOR 1 < (bigint, smallint),
	OPERATOR 2 <= (bigint, smallint),
	OPERATOR 3 = (bigint, smallint),
	OPERATOR 4 >= (bigint, smallint),
	OPERATOR 5 > (bigint, smallint),
	FUNCTION 1 (bigint, smallint) ds_filter_order(smallint),
	OPERATOR 1 < (bigint, integer),
	OPERATOR 2 <= (bigint, integer),
	OPERATOR 3 = (bigint, integer),
	OPERATOR 4 >= (bigint, integer),
	OPERATOR 5 > (bigint, integer),
	FUNCTION 1 (bigint, integer) ds_filter_order(integer);

CREATE OPERATOR FAMILY float_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY float_ops USING deepsearch IS 'filter columns of floating-point numbers';

CREATE OPERATOR CLASS float4_ops DEFAULT FOR TYPE real USING deepsearch FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(real);
COMMENT ON OPERATOR CLASS float4_ops USING deepsearch IS 'filter column of type real';

CREATE OPERATOR CLASS float8_ops DEFAULT FOR TYPE double precision USING deepsearch FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(double precision);
COMMENT ON OPERATOR CLASS float8_ops USING deepsearch IS 'filter column of type double precision';

ALTER OPERATOR FAMILY float_ops USING deepsearch ADD
	OPERATOR 1 < (real, double precision),
	OPERATOR 2 <= (real, double precision),
	OPERATOR 3 = (real, double precision),
	OPERATOR 4 >= (real, double precision),
	OPERATOR 5 > (real, double precision),
	FUNCTION 1 (real, double precision) ds_filter_order(double precision),
	OPERATOR 1 < (double precision, real),
	OPERATOR 2 <= (double precision, real),
	OPERATOR 3 = (double precision, real),
	OPERATOR 4 >= (double precision, real),
	OPERATOR 5 > (double precision, real),
	FUNCTION 1 (double precision, real) ds_filter_order(real);

CREATE OPERATOR FAMILY numeric_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY numeric_ops USING deepsearch IS 'filter columns of numeric';

CREATE OPERATOR CLASS numeric_ops DEFAULT FOR TYPE numeric USING deepsearch FAMILY numeric_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(numeric);
COMMENT ON OPERATOR CLASS numeric_ops USING deepsearch IS 'filter column of type numeric';

CREATE OPERATOR FAMILY bool_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY bool_ops USING deepsearch IS 'filter columns of boolean';

CREATE OPERATOR CLASS bool_ops DEFAULT FOR TYPE boolean USING deepsearch FAMILY bool_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(boolean);
COMMENT ON OPERATOR CLASS bool_ops USING deepsearch IS 'filter column of type boolean';

CREATE OPERATOR FAMILY datetime_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY datetime_ops USING deepsearch IS 'filter columns of dates and timestamps';

CREATE OPERATOR CLASS date_ops DEFAULT FOR TYPE date USING deepsearch FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(date);
COMMENT ON OPERATOR CLASS date_ops USING deepsearch IS 'filter column of type date';

CREATE OPERATOR CLASS timestamp_ops DEFAULT FOR TYPE timestamp USING deepsearch FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(timestamp);
COMMENT ON OPERATOR CLASS timestamp_ops USING deepsearch IS 'filter column of type timestamp';

CREATE OPERATOR CLASS timestamptz_ops DEFAULT FOR TYPE timestamptz USING deepsearch FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(timestamptz);
COMMENT ON OPERATOR CLASS timestamptz_ops USING deepsearch IS 'filter column of type timestamptz';

-- A date or timestamp column beside a timestamptz is not here: which local time
-- that is differs from row to row.  Such clauses stay with the executor.
ALTER OPERATOR FAMILY datetime_ops USING deepsearch ADD
	OPERATOR 1 < (date, timestamp),
	OPERATOR 2 <= (date, timestamp),
	OPERATOR 3 = (date, timestamp),
	OPERATOR 4 >= (date, timestamp),
	OPERATOR 5 > (date, timestamp),
	FUNCTION 1 (date, timestamp) ds_filter_order(timestamp),
	OPERATOR 1 < (timestamp, date),
	OPERATOR 2 <= (timestamp, date),
	OPERATOR 3 = (timestamp, date),
	OPERATOR 4 >= (timestamp, date),
	OPERATOR 5 > (timestamp, date),
	FUNCTION 1 (timestamp, date) ds_filter_order(date),
	OPERATOR 1 < (timestamptz, timestamp),
	OPERATOR 2 <= (timestamptz, timestamp),
	OPERATOR 3 = (timestamptz, timestamp),
	OPERATOR 4 >= (timestamptz, timestamp),
	OPERATOR 5 > (timestamptz, timestamp),
	FUNCTION 1 (timestamptz, timestamp) ds_filter_order_tz(timestamp),
	OPERATOR 1 < (timestamptz, date),
	OPERATOR 2 <= (timestamptz, date),
	OPERATOR 3 = (timestamptz, date),
	OPERATOR 4 >= (timestamptz, date),
	OPERATOR 5 > (timestamptz, date),
	FUNCTION 1 (timestamptz, date) ds_filter_order_tz(date);

CREATE OPERATOR FAMILY time_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY time_ops USING deepsearch IS 'filter columns of time';

CREATE OPERATOR CLASS time_ops DEFAULT FOR TYPE time USING deepsearch FAMILY time_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(time);
COMMENT ON OPERATOR CLASS time_ops USING deepsearch IS 'filter column of type time';

CREATE OPERATOR FAMILY timetz_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY timetz_ops USING deepsearch IS 'filter columns of timetz';

CREATE OPERATOR CLASS timetz_ops DEFAULT FOR TYPE timetz USING deepsearch FAMILY timetz_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(timetz);
COMMENT ON OPERATOR CLASS timetz_ops USING deepsearch IS 'filter column of type timetz';

CREATE OPERATOR FAMILY interval_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY interval_ops USING deepsearch IS 'filter columns of interval';

CREATE OPERATOR CLASS interval_ops DEFAULT FOR TYPE interval USING deepsearch FAMILY interval_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(interval);
COMMENT ON OPERATOR CLASS interval_ops USING deepsearch IS 'filter column of type interval';

CREATE OPERATOR FAMILY text_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY text_ops USING deepsearch IS 'filter columns of text and varchar';

CREATE OPERATOR CLASS text_ops DEFAULT FOR TYPE text USING deepsearch FAMILY text_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(text),
	FUNCTION 2 ds_filter_hash(text);
COMMENT ON OPERATOR CLASS text_ops USING deepsearch IS 'filter column of type text';

CREATE OPERATOR FAMILY bpchar_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY bpchar_ops USING deepsearch IS 'filter columns of character(n)';

CREATE OPERATOR CLASS bpchar_ops DEFAULT FOR TYPE character USING deepsearch FAMILY bpchar_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(character),
	FUNCTION 2 ds_filter_hash(character);
COMMENT ON OPERATOR CLASS bpchar_ops USING deepsearch IS 'filter column of type character';

CREATE OPERATOR FAMILY uuid_ops USING deepsearch;
COMMENT ON OPERATOR FAMILY uuid_ops USING deepsearch IS 'filter columns of uuid';

CREATE OPERATOR CLASS uuid_ops DEFAULT FOR TYPE uuid USING deepsearch FAMILY uuid_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 ds_filter_order(uuid),
	FUNCTION 2 ds_filter_hash(uuid);
COMMENT ON OPERATOR CLASS uuid_ops USING deepsearch IS 'filter column of type uuid';

-- The order of an enum's values may change, and with it every number: equality only.
CREATE OPERATOR CLASS enum_ops DEFAULT FOR TYPE anyenum USING deepsearch AS
	OPERATOR 3 =,
	FUNCTION 2 ds_filter_hash(anyenum);
COMMENT ON OPERATOR CLASS enum_ops USING deepsearch IS 'filter column of an enum type';
COMMENT ON OPERATOR FAMILY enum_ops USING deepsearch IS 'filter columns of enums';
