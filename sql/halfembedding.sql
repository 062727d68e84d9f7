-- The type halfembedding: a vector of 1 to 16,000 finite half precision numbers
-- (IEEE 754 binary16), with everything that embedding has.

CREATE TYPE halfembedding;

CREATE FUNCTION halfembedding_in(cstring, oid, integer) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_halfembedding_in';
COMMENT ON FUNCTION halfembedding_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION halfembedding_out(halfembedding) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_halfembedding_out';
COMMENT ON FUNCTION halfembedding_out(halfembedding) IS 'I/O';

CREATE FUNCTION halfembedding_recv(internal, oid, integer) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_halfembedding_recv';
COMMENT ON FUNCTION halfembedding_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION halfembedding_send(halfembedding) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_halfembedding_send';
COMMENT ON FUNCTION halfembedding_send(halfembedding) IS 'I/O';

CREATE FUNCTION halfembedding_typanalyze(internal) RETURNS boolean
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_halfembedding_typanalyze';
COMMENT ON FUNCTION halfembedding_typanalyze(internal) IS 'statistics of a column of halfembeddings';

-- Storage main, as for embedding: in the row up to about 4,000 dimensions.
CREATE TYPE halfembedding (
	INPUT = halfembedding_in,
	OUTPUT = halfembedding_out,
	RECEIVE = halfembedding_recv,
	SEND = halfembedding_send,
	TYPMOD_IN = embedding_typmod_in,
	ANALYZE = halfembedding_typanalyze,
	STORAGE = main,
	CATEGORY = 'V'
);
COMMENT ON TYPE halfembedding IS 'vector of up to 16,000 half precision numbers, halfembedding(d) for a fixed number of dimensions';

-- Functions by name

CREATE FUNCTION ds_dims(halfembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_dims';
COMMENT ON FUNCTION ds_dims(halfembedding) IS 'number of dimensions';

CREATE FUNCTION ds_norm(halfembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_norm';
COMMENT ON FUNCTION ds_norm(halfembedding) IS 'Euclidean length';

CREATE FUNCTION ds_normalize(halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_normalize';
COMMENT ON FUNCTION ds_normalize(halfembedding) IS 'the vector scaled to length 1; a zero vector stays as it is';

CREATE FUNCTION ds_subvector(halfembedding, start integer, count integer) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_subvector';
COMMENT ON FUNCTION ds_subvector(halfembedding, start integer, count integer) IS 'count elements from start on, which counts from 1';

CREATE FUNCTION ds_cosine_distance(halfembedding, halfembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_cosine_distance';
COMMENT ON FUNCTION ds_cosine_distance(halfembedding, halfembedding) IS '1 - cosine of the angle, 0 to 2; NaN when one vector is zero';

CREATE FUNCTION ds_l2_distance(halfembedding, halfembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_l2_distance';
COMMENT ON FUNCTION ds_l2_distance(halfembedding, halfembedding) IS 'Euclidean distance';

CREATE FUNCTION ds_inner_product(halfembedding, halfembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_inner_product';
COMMENT ON FUNCTION ds_inner_product(halfembedding, halfembedding) IS 'inner product';

CREATE FUNCTION ds_negative_inner_product(halfembedding, halfembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_negative_inner_product';
COMMENT ON FUNCTION ds_negative_inner_product(halfembedding, halfembedding) IS 'inner product with its sign changed, so that the best comes first';

CREATE FUNCTION ds_taxicab_distance(halfembedding, halfembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_taxicab_distance';
COMMENT ON FUNCTION ds_taxicab_distance(halfembedding, halfembedding) IS 'sum of the absolute differences';

-- Distances

CREATE OPERATOR <=> (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = ds_cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (halfembedding, halfembedding) IS 'cosine distance, 0 to 2; NaN when one vector is zero';

CREATE OPERATOR <-> (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = ds_l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (halfembedding, halfembedding) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = ds_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (halfembedding, halfembedding) IS 'negative inner product';

CREATE OPERATOR <+> (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = ds_taxicab_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (halfembedding, halfembedding) IS 'taxicab distance';

-- Arithmetic

CREATE FUNCTION halfembedding_add(halfembedding, halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_add';
COMMENT ON FUNCTION halfembedding_add(halfembedding, halfembedding) IS 'implementation of + operator';

CREATE OPERATOR + (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_add, COMMUTATOR = +
);
COMMENT ON OPERATOR + (halfembedding, halfembedding) IS 'sum, element by element';

CREATE FUNCTION halfembedding_sub(halfembedding, halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_sub';
COMMENT ON FUNCTION halfembedding_sub(halfembedding, halfembedding) IS 'implementation of - operator';

CREATE OPERATOR - (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_sub
);
COMMENT ON OPERATOR - (halfembedding, halfembedding) IS 'difference, element by element';

CREATE FUNCTION halfembedding_mul(halfembedding, halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_mul';
COMMENT ON FUNCTION halfembedding_mul(halfembedding, halfembedding) IS 'implementation of * operator';

CREATE OPERATOR * (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_mul, COMMUTATOR = *
);
COMMENT ON OPERATOR * (halfembedding, halfembedding) IS 'product, element by element';

CREATE FUNCTION halfembedding_scale(halfembedding, double precision) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_scale';
COMMENT ON FUNCTION halfembedding_scale(halfembedding, double precision) IS 'implementation of * operator';

CREATE OPERATOR * (
	LEFTARG = halfembedding, RIGHTARG = double precision, FUNCTION = halfembedding_scale, COMMUTATOR = *
);
COMMENT ON OPERATOR * (halfembedding, double precision) IS 'multiply every element';

CREATE FUNCTION halfembedding_scale(double precision, halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_scale_left';
COMMENT ON FUNCTION halfembedding_scale(double precision, halfembedding) IS 'implementation of * operator';

CREATE OPERATOR * (
	LEFTARG = double precision, RIGHTARG = halfembedding, FUNCTION = halfembedding_scale, COMMUTATOR = *
);
COMMENT ON OPERATOR * (double precision, halfembedding) IS 'multiply every element';

CREATE FUNCTION halfembedding_div(halfembedding, double precision) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_divide';
COMMENT ON FUNCTION halfembedding_div(halfembedding, double precision) IS 'implementation of / operator';

CREATE OPERATOR / (
	LEFTARG = halfembedding, RIGHTARG = double precision, FUNCTION = halfembedding_div
);
COMMENT ON OPERATOR / (halfembedding, double precision) IS 'divide every element';

CREATE FUNCTION halfembedding_concat(halfembedding, halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_concat';
COMMENT ON FUNCTION halfembedding_concat(halfembedding, halfembedding) IS 'implementation of || operator';

CREATE OPERATOR || (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_concat
);
COMMENT ON OPERATOR || (halfembedding, halfembedding) IS 'concatenate';

CREATE FUNCTION halfembedding_neg(halfembedding) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_negate';
COMMENT ON FUNCTION halfembedding_neg(halfembedding) IS 'implementation of - operator';

CREATE OPERATOR - (RIGHTARG = halfembedding, FUNCTION = halfembedding_neg);
COMMENT ON OPERATOR - (NONE, halfembedding) IS 'negate';

-- Comparison: element by element; a value that is the beginning of another one
-- comes before it; -0 equals 0.

CREATE FUNCTION halfembedding_lt(halfembedding, halfembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_lt';
COMMENT ON FUNCTION halfembedding_lt(halfembedding, halfembedding) IS 'implementation of < operator';

CREATE FUNCTION halfembedding_le(halfembedding, halfembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_le';
COMMENT ON FUNCTION halfembedding_le(halfembedding, halfembedding) IS 'implementation of <= operator';

CREATE FUNCTION halfembedding_eq(halfembedding, halfembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_eq';
COMMENT ON FUNCTION halfembedding_eq(halfembedding, halfembedding) IS 'implementation of = operator';

CREATE FUNCTION halfembedding_ne(halfembedding, halfembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_ne';
COMMENT ON FUNCTION halfembedding_ne(halfembedding, halfembedding) IS 'implementation of <> operator';

CREATE FUNCTION halfembedding_ge(halfembedding, halfembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_ge';
COMMENT ON FUNCTION halfembedding_ge(halfembedding, halfembedding) IS 'implementation of >= operator';

CREATE FUNCTION halfembedding_gt(halfembedding, halfembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_gt';
COMMENT ON FUNCTION halfembedding_gt(halfembedding, halfembedding) IS 'implementation of > operator';

CREATE OPERATOR < (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_lt,
	COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (halfembedding, halfembedding) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_le,
	COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (halfembedding, halfembedding) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_eq,
	COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR = (halfembedding, halfembedding) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_ne,
	COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (halfembedding, halfembedding) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_ge,
	COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (halfembedding, halfembedding) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = halfembedding, RIGHTARG = halfembedding, FUNCTION = halfembedding_gt,
	COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (halfembedding, halfembedding) IS 'greater than';

CREATE FUNCTION halfembedding_cmp(halfembedding, halfembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_cmp';
COMMENT ON FUNCTION halfembedding_cmp(halfembedding, halfembedding) IS 'less-equal-greater';

CREATE FUNCTION halfembedding_sortsupport(internal) RETURNS void
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_sortsupport';
COMMENT ON FUNCTION halfembedding_sortsupport(internal) IS 'sort support';

CREATE FUNCTION halfembedding_hash(halfembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_hash';
COMMENT ON FUNCTION halfembedding_hash(halfembedding) IS 'hash';

CREATE FUNCTION halfembedding_hash_extended(halfembedding, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_hash_extended';
COMMENT ON FUNCTION halfembedding_hash_extended(halfembedding, bigint) IS 'hash';

CREATE OPERATOR FAMILY halfembedding_ops USING btree;
COMMENT ON OPERATOR FAMILY halfembedding_ops USING btree IS 'order of halfembeddings';

CREATE OPERATOR CLASS halfembedding_ops DEFAULT FOR TYPE halfembedding USING btree FAMILY halfembedding_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 halfembedding_cmp(halfembedding, halfembedding),
	FUNCTION 2 halfembedding_sortsupport(internal);
COMMENT ON OPERATOR CLASS halfembedding_ops USING btree IS 'order of halfembeddings, element by element';

CREATE OPERATOR FAMILY halfembedding_ops USING hash;
COMMENT ON OPERATOR FAMILY halfembedding_ops USING hash IS 'equality of halfembeddings';

CREATE OPERATOR CLASS halfembedding_ops DEFAULT FOR TYPE halfembedding USING hash FAMILY halfembedding_ops AS
	OPERATOR 1 =,
	FUNCTION 1 halfembedding_hash(halfembedding),
	FUNCTION 2 halfembedding_hash_extended(halfembedding, bigint);
COMMENT ON OPERATOR CLASS halfembedding_ops USING hash IS 'equality of halfembeddings';

-- Casts
--
-- From embedding implicitly, so that halves <=> ds_encode(...) is the distance
-- of halves, for which there is an index; back on assignment only, so that there
-- is one way to read an operator between the two.  Arrays as for embedding.

CREATE FUNCTION halfembedding(halfembedding, integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_coerce';
COMMENT ON FUNCTION halfembedding(halfembedding, integer, boolean) IS 'check of the number of dimensions';

CREATE CAST (halfembedding AS halfembedding) WITH FUNCTION halfembedding(halfembedding, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (halfembedding AS halfembedding) IS 'check of the number of dimensions';

CREATE FUNCTION halfembedding(embedding, integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_from_embedding';
COMMENT ON FUNCTION halfembedding(embedding, integer, boolean) IS 'each element rounded to half precision';

CREATE CAST (embedding AS halfembedding) WITH FUNCTION halfembedding(embedding, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (embedding AS halfembedding) IS 'each element rounded to half precision';

CREATE FUNCTION embedding(halfembedding, integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_to_embedding';
COMMENT ON FUNCTION embedding(halfembedding, integer, boolean) IS 'the same numbers as float4';

CREATE CAST (halfembedding AS embedding) WITH FUNCTION embedding(halfembedding, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (halfembedding AS embedding) IS 'the same numbers as float4';

CREATE FUNCTION halfembedding(real[], integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_from_array';
COMMENT ON FUNCTION halfembedding(real[], integer, boolean) IS 'array to halfembedding';

CREATE CAST (real[] AS halfembedding) WITH FUNCTION halfembedding(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS halfembedding) IS 'array without nulls to halfembedding';

CREATE FUNCTION halfembedding(double precision[], integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_from_array';
COMMENT ON FUNCTION halfembedding(double precision[], integer, boolean) IS 'array to halfembedding';

CREATE CAST (double precision[] AS halfembedding) WITH FUNCTION halfembedding(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS halfembedding) IS 'array without nulls to halfembedding';

CREATE FUNCTION halfembedding(integer[], integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_from_array';
COMMENT ON FUNCTION halfembedding(integer[], integer, boolean) IS 'array to halfembedding';

CREATE CAST (integer[] AS halfembedding) WITH FUNCTION halfembedding(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS halfembedding) IS 'array without nulls to halfembedding';

CREATE FUNCTION halfembedding(numeric[], integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_from_array';
COMMENT ON FUNCTION halfembedding(numeric[], integer, boolean) IS 'array to halfembedding';

CREATE CAST (numeric[] AS halfembedding) WITH FUNCTION halfembedding(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS halfembedding) IS 'array without nulls to halfembedding';

CREATE FUNCTION halfembedding_to_real(halfembedding) RETURNS real[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_to_real';
COMMENT ON FUNCTION halfembedding_to_real(halfembedding) IS 'halfembedding to array';

CREATE CAST (halfembedding AS real[]) WITH FUNCTION halfembedding_to_real(halfembedding) AS IMPLICIT;
COMMENT ON CAST (halfembedding AS real[]) IS 'halfembedding to array';

CREATE FUNCTION halfembedding_to_double(halfembedding) RETURNS double precision[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_to_double';
COMMENT ON FUNCTION halfembedding_to_double(halfembedding) IS 'halfembedding to array';

CREATE CAST (halfembedding AS double precision[]) WITH FUNCTION halfembedding_to_double(halfembedding) AS ASSIGNMENT;
COMMENT ON CAST (halfembedding AS double precision[]) IS 'halfembedding to array';

CREATE FUNCTION halfembedding_to_integer(halfembedding) RETURNS integer[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_to_integer';
COMMENT ON FUNCTION halfembedding_to_integer(halfembedding) IS 'halfembedding to array, rounded';

CREATE CAST (halfembedding AS integer[]) WITH FUNCTION halfembedding_to_integer(halfembedding) AS ASSIGNMENT;
COMMENT ON CAST (halfembedding AS integer[]) IS 'halfembedding to array, rounded';

CREATE FUNCTION halfembedding_to_numeric(halfembedding) RETURNS numeric[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_to_numeric';
COMMENT ON FUNCTION halfembedding_to_numeric(halfembedding) IS 'halfembedding to array of the shortest decimals that read back the same';

CREATE CAST (halfembedding AS numeric[]) WITH FUNCTION halfembedding_to_numeric(halfembedding) AS ASSIGNMENT;
COMMENT ON CAST (halfembedding AS numeric[]) IS 'halfembedding to array of the shortest decimals that read back the same';

-- Aggregates

CREATE FUNCTION halfembedding_sum_step(internal, halfembedding) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_sum_step';
COMMENT ON FUNCTION halfembedding_sum_step(internal, halfembedding) IS 'transition of sum and avg';

CREATE FUNCTION halfembedding_sum_final(internal) RETURNS halfembedding
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_sum_final';
COMMENT ON FUNCTION halfembedding_sum_final(internal) IS 'result of sum';

CREATE FUNCTION halfembedding_avg_final(internal) RETURNS halfembedding
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_halfembedding_avg_final';
COMMENT ON FUNCTION halfembedding_avg_final(internal) IS 'result of avg';

CREATE AGGREGATE sum(halfembedding) (
	SFUNC = halfembedding_sum_step,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = halfembedding_sum_final,
	COMBINEFUNC = embedding_sum_combine,
	SERIALFUNC = embedding_sum_serialize,
	DESERIALFUNC = embedding_sum_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(halfembedding) IS 'sum, element by element; accumulated in double precision';

CREATE AGGREGATE avg(halfembedding) (
	SFUNC = halfembedding_sum_step,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = halfembedding_avg_final,
	COMBINEFUNC = embedding_sum_combine,
	SERIALFUNC = embedding_sum_serialize,
	DESERIALFUNC = embedding_sum_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(halfembedding) IS 'average, element by element; accumulated in double precision';
