-- The type embedding: a vector of 1 to 16,000 finite float4 numbers.
--
-- Functions that stand behind the type, its casts, operators and aggregates
-- are called embedding_...; what a user calls by name starts with ds_.

CREATE TYPE embedding;

CREATE FUNCTION embedding_in(cstring, oid, integer) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_in';
COMMENT ON FUNCTION embedding_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION embedding_out(embedding) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_out';
COMMENT ON FUNCTION embedding_out(embedding) IS 'I/O';

CREATE FUNCTION embedding_recv(internal, oid, integer) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_recv';
COMMENT ON FUNCTION embedding_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION embedding_send(embedding) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_send';
COMMENT ON FUNCTION embedding_send(embedding) IS 'I/O';

CREATE FUNCTION embedding_typmod_in(cstring[]) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_typmod_in';
COMMENT ON FUNCTION embedding_typmod_in(cstring[]) IS 'I/O type modifier';

CREATE FUNCTION embedding_typanalyze(internal) RETURNS boolean
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_typanalyze';
COMMENT ON FUNCTION embedding_typanalyze(internal) IS 'statistics of a column of embeddings';

-- Storage main: a value stays in its row as long as the row fits into a page
-- (about 2,000 dimensions), because reading it from a TOAST table costs a
-- scan more than the distance itself.  See docs/internals/embedding.md.
-- Preferred among the types of vectors, so that a literal without a type, as in
-- ds_norm('[3,4]'), is one of these.
CREATE TYPE embedding (
	INPUT = embedding_in,
	OUTPUT = embedding_out,
	RECEIVE = embedding_recv,
	SEND = embedding_send,
	TYPMOD_IN = embedding_typmod_in,
	ANALYZE = embedding_typanalyze,
	STORAGE = main,
	CATEGORY = 'V',
	PREFERRED = true
);
COMMENT ON TYPE embedding IS 'vector of up to 16,000 float4 numbers, embedding(d) for a fixed number of dimensions';

-- Functions by name

CREATE FUNCTION embedding_support(internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_embedding_support';
COMMENT ON FUNCTION embedding_support(internal) IS 'planner support: cost by dimension';

CREATE FUNCTION ds_dims(embedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_dims';
COMMENT ON FUNCTION ds_dims(embedding) IS 'number of dimensions';

CREATE FUNCTION ds_norm(embedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_norm';
COMMENT ON FUNCTION ds_norm(embedding) IS 'Euclidean length';

CREATE FUNCTION ds_normalize(embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_normalize';
COMMENT ON FUNCTION ds_normalize(embedding) IS 'the vector scaled to length 1; a zero vector stays as it is';

CREATE FUNCTION ds_subvector(embedding, start integer, count integer) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_subvector';
COMMENT ON FUNCTION ds_subvector(embedding, start integer, count integer) IS 'count elements from start on, which counts from 1';

CREATE FUNCTION ds_cosine_distance(embedding, embedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_cosine_distance';
COMMENT ON FUNCTION ds_cosine_distance(embedding, embedding) IS '1 - cosine of the angle, 0 to 2; NaN when one vector is zero';

CREATE FUNCTION ds_l2_distance(embedding, embedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_l2_distance';
COMMENT ON FUNCTION ds_l2_distance(embedding, embedding) IS 'Euclidean distance';

CREATE FUNCTION ds_inner_product(embedding, embedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_inner_product';
COMMENT ON FUNCTION ds_inner_product(embedding, embedding) IS 'inner product';

CREATE FUNCTION ds_negative_inner_product(embedding, embedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_negative_inner_product';
COMMENT ON FUNCTION ds_negative_inner_product(embedding, embedding) IS 'inner product with its sign changed, so that the best comes first';

CREATE FUNCTION ds_taxicab_distance(embedding, embedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_taxicab_distance';
COMMENT ON FUNCTION ds_taxicab_distance(embedding, embedding) IS 'sum of the absolute differences';

-- Distances

CREATE OPERATOR <=> (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = ds_cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (embedding, embedding) IS 'cosine distance, 0 to 2; NaN when one vector is zero';

CREATE OPERATOR <-> (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = ds_l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (embedding, embedding) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = ds_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (embedding, embedding) IS 'negative inner product';

CREATE OPERATOR <+> (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = ds_taxicab_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (embedding, embedding) IS 'taxicab distance';

-- Arithmetic

CREATE FUNCTION embedding_add(embedding, embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_add';
COMMENT ON FUNCTION embedding_add(embedding, embedding) IS 'implementation of + operator';

CREATE OPERATOR + (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_add, COMMUTATOR = +
);
COMMENT ON OPERATOR + (embedding, embedding) IS 'sum, element by element';

CREATE FUNCTION embedding_sub(embedding, embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_sub';
COMMENT ON FUNCTION embedding_sub(embedding, embedding) IS 'implementation of - operator';

CREATE OPERATOR - (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_sub
);
COMMENT ON OPERATOR - (embedding, embedding) IS 'difference, element by element';

CREATE FUNCTION embedding_mul(embedding, embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_mul';
COMMENT ON FUNCTION embedding_mul(embedding, embedding) IS 'implementation of * operator';

CREATE OPERATOR * (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_mul, COMMUTATOR = *
);
COMMENT ON OPERATOR * (embedding, embedding) IS 'product, element by element';

CREATE FUNCTION embedding_scale(embedding, double precision) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_scale';
COMMENT ON FUNCTION embedding_scale(embedding, double precision) IS 'implementation of * operator';

CREATE OPERATOR * (
	LEFTARG = embedding, RIGHTARG = double precision, FUNCTION = embedding_scale, COMMUTATOR = *
);
COMMENT ON OPERATOR * (embedding, double precision) IS 'multiply every element';

CREATE FUNCTION embedding_scale(double precision, embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_scale_left';
COMMENT ON FUNCTION embedding_scale(double precision, embedding) IS 'implementation of * operator';

CREATE OPERATOR * (
	LEFTARG = double precision, RIGHTARG = embedding, FUNCTION = embedding_scale, COMMUTATOR = *
);
COMMENT ON OPERATOR * (double precision, embedding) IS 'multiply every element';

CREATE FUNCTION embedding_div(embedding, double precision) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_divide';
COMMENT ON FUNCTION embedding_div(embedding, double precision) IS 'implementation of / operator';

CREATE OPERATOR / (
	LEFTARG = embedding, RIGHTARG = double precision, FUNCTION = embedding_div
);
COMMENT ON OPERATOR / (embedding, double precision) IS 'divide every element';

CREATE FUNCTION embedding_concat(embedding, embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_concat';
COMMENT ON FUNCTION embedding_concat(embedding, embedding) IS 'implementation of || operator';

CREATE OPERATOR || (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_concat
);
COMMENT ON OPERATOR || (embedding, embedding) IS 'concatenate';

CREATE FUNCTION embedding_neg(embedding) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_negate';
COMMENT ON FUNCTION embedding_neg(embedding) IS 'implementation of - operator';

CREATE OPERATOR - (RIGHTARG = embedding, FUNCTION = embedding_neg);
COMMENT ON OPERATOR - (NONE, embedding) IS 'negate';

-- Comparison: element by element; a value that is the beginning of another one
-- comes before it; -0 equals 0.

CREATE FUNCTION embedding_lt(embedding, embedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_lt';
COMMENT ON FUNCTION embedding_lt(embedding, embedding) IS 'implementation of < operator';

CREATE FUNCTION embedding_le(embedding, embedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_le';
COMMENT ON FUNCTION embedding_le(embedding, embedding) IS 'implementation of <= operator';

CREATE FUNCTION embedding_eq(embedding, embedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_eq';
COMMENT ON FUNCTION embedding_eq(embedding, embedding) IS 'implementation of = operator';

CREATE FUNCTION embedding_ne(embedding, embedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_ne';
COMMENT ON FUNCTION embedding_ne(embedding, embedding) IS 'implementation of <> operator';

CREATE FUNCTION embedding_ge(embedding, embedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_ge';
COMMENT ON FUNCTION embedding_ge(embedding, embedding) IS 'implementation of >= operator';

CREATE FUNCTION embedding_gt(embedding, embedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_gt';
COMMENT ON FUNCTION embedding_gt(embedding, embedding) IS 'implementation of > operator';

CREATE OPERATOR < (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_lt,
	COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (embedding, embedding) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_le,
	COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (embedding, embedding) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_eq,
	COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR = (embedding, embedding) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_ne,
	COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (embedding, embedding) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_ge,
	COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (embedding, embedding) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = embedding, RIGHTARG = embedding, FUNCTION = embedding_gt,
	COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (embedding, embedding) IS 'greater than';

CREATE FUNCTION embedding_cmp(embedding, embedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_cmp';
COMMENT ON FUNCTION embedding_cmp(embedding, embedding) IS 'less-equal-greater';

CREATE FUNCTION embedding_sortsupport(internal) RETURNS void
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_sortsupport';
COMMENT ON FUNCTION embedding_sortsupport(internal) IS 'sort support';

CREATE FUNCTION embedding_hash(embedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_hash';
COMMENT ON FUNCTION embedding_hash(embedding) IS 'hash';

CREATE FUNCTION embedding_hash_extended(embedding, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_hash_extended';
COMMENT ON FUNCTION embedding_hash_extended(embedding, bigint) IS 'hash';

CREATE OPERATOR FAMILY embedding_ops USING btree;
COMMENT ON OPERATOR FAMILY embedding_ops USING btree IS 'order of embeddings';

CREATE OPERATOR CLASS embedding_ops DEFAULT FOR TYPE embedding USING btree FAMILY embedding_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 embedding_cmp(embedding, embedding),
	FUNCTION 2 embedding_sortsupport(internal);
COMMENT ON OPERATOR CLASS embedding_ops USING btree IS 'order of embeddings, element by element';

CREATE OPERATOR FAMILY embedding_ops USING hash;
COMMENT ON OPERATOR FAMILY embedding_ops USING hash IS 'equality of embeddings';

CREATE OPERATOR CLASS embedding_ops DEFAULT FOR TYPE embedding USING hash FAMILY embedding_ops AS
	OPERATOR 1 =,
	FUNCTION 1 embedding_hash(embedding),
	FUNCTION 2 embedding_hash_extended(embedding, bigint);
COMMENT ON OPERATOR CLASS embedding_ops USING hash IS 'equality of embeddings';

-- Casts
--
-- From arrays on assignment only: an implicit cast would make every operator
-- that both arrays and embeddings have (= || <) ambiguous for arrays.  To
-- real[] implicitly, because nothing is lost; the other arrays as PostgreSQL
-- does for their elements.

CREATE FUNCTION embedding(embedding, integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_coerce';
COMMENT ON FUNCTION embedding(embedding, integer, boolean) IS 'check of the number of dimensions';

CREATE CAST (embedding AS embedding) WITH FUNCTION embedding(embedding, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (embedding AS embedding) IS 'check of the number of dimensions';

CREATE FUNCTION embedding(real[], integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_from_array';
COMMENT ON FUNCTION embedding(real[], integer, boolean) IS 'array to embedding';

CREATE CAST (real[] AS embedding) WITH FUNCTION embedding(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS embedding) IS 'array without nulls to embedding';

CREATE FUNCTION embedding(double precision[], integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_from_array';
COMMENT ON FUNCTION embedding(double precision[], integer, boolean) IS 'array to embedding';

CREATE CAST (double precision[] AS embedding) WITH FUNCTION embedding(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS embedding) IS 'array without nulls to embedding';

CREATE FUNCTION embedding(integer[], integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_from_array';
COMMENT ON FUNCTION embedding(integer[], integer, boolean) IS 'array to embedding';

CREATE CAST (integer[] AS embedding) WITH FUNCTION embedding(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS embedding) IS 'array without nulls to embedding';

CREATE FUNCTION embedding(numeric[], integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_from_array';
COMMENT ON FUNCTION embedding(numeric[], integer, boolean) IS 'array to embedding';

CREATE CAST (numeric[] AS embedding) WITH FUNCTION embedding(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS embedding) IS 'array without nulls to embedding';

CREATE FUNCTION embedding_to_real(embedding) RETURNS real[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_to_real';
COMMENT ON FUNCTION embedding_to_real(embedding) IS 'embedding to array';

CREATE CAST (embedding AS real[]) WITH FUNCTION embedding_to_real(embedding) AS IMPLICIT;
COMMENT ON CAST (embedding AS real[]) IS 'embedding to array';

CREATE FUNCTION embedding_to_double(embedding) RETURNS double precision[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_to_double';
COMMENT ON FUNCTION embedding_to_double(embedding) IS 'embedding to array';

CREATE CAST (embedding AS double precision[]) WITH FUNCTION embedding_to_double(embedding) AS ASSIGNMENT;
COMMENT ON CAST (embedding AS double precision[]) IS 'embedding to array';

CREATE FUNCTION embedding_to_integer(embedding) RETURNS integer[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_to_integer';
COMMENT ON FUNCTION embedding_to_integer(embedding) IS 'embedding to array, rounded';

CREATE CAST (embedding AS integer[]) WITH FUNCTION embedding_to_integer(embedding) AS ASSIGNMENT;
COMMENT ON CAST (embedding AS integer[]) IS 'embedding to array, rounded';

CREATE FUNCTION embedding_to_numeric(embedding) RETURNS numeric[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_to_numeric';
COMMENT ON FUNCTION embedding_to_numeric(embedding) IS 'embedding to array of the shortest decimals that read back the same';

CREATE CAST (embedding AS numeric[]) WITH FUNCTION embedding_to_numeric(embedding) AS ASSIGNMENT;
COMMENT ON CAST (embedding AS numeric[]) IS 'embedding to array of the shortest decimals that read back the same';

-- Aggregates

CREATE FUNCTION embedding_sum_step(internal, embedding) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_sum_step';
COMMENT ON FUNCTION embedding_sum_step(internal, embedding) IS 'transition of sum and avg';

CREATE FUNCTION embedding_sum_combine(internal, internal) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_sum_combine';
COMMENT ON FUNCTION embedding_sum_combine(internal, internal) IS 'combination of partial states of sum and avg';

CREATE FUNCTION embedding_sum_serialize(internal) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_sum_serialize';
COMMENT ON FUNCTION embedding_sum_serialize(internal) IS 'state of sum and avg on its way between processes';

CREATE FUNCTION embedding_sum_deserialize(bytea, internal) RETURNS internal
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_sum_deserialize';
COMMENT ON FUNCTION embedding_sum_deserialize(bytea, internal) IS 'state of sum and avg on its way between processes';

CREATE FUNCTION embedding_sum_final(internal) RETURNS embedding
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_sum_final';
COMMENT ON FUNCTION embedding_sum_final(internal) IS 'result of sum';

CREATE FUNCTION embedding_avg_final(internal) RETURNS embedding
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_embedding_avg_final';
COMMENT ON FUNCTION embedding_avg_final(internal) IS 'result of avg';

CREATE AGGREGATE sum(embedding) (
	SFUNC = embedding_sum_step,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = embedding_sum_final,
	COMBINEFUNC = embedding_sum_combine,
	SERIALFUNC = embedding_sum_serialize,
	DESERIALFUNC = embedding_sum_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(embedding) IS 'sum, element by element; accumulated in double precision';

CREATE AGGREGATE avg(embedding) (
	SFUNC = embedding_sum_step,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = embedding_avg_final,
	COMBINEFUNC = embedding_sum_combine,
	SERIALFUNC = embedding_sum_serialize,
	DESERIALFUNC = embedding_sum_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(embedding) IS 'average, element by element; accumulated in double precision';
