-- The type sparseembedding: a vector of up to 1,000,000,000 dimensions, of which up
-- to 16,000 are not zero.

CREATE TYPE sparseembedding;

CREATE FUNCTION sparseembedding_in(cstring, oid, integer) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sparseembedding_in';
COMMENT ON FUNCTION sparseembedding_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION sparseembedding_out(sparseembedding) RETURNS cstring
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sparseembedding_out';
COMMENT ON FUNCTION sparseembedding_out(sparseembedding) IS 'I/O';

CREATE FUNCTION sparseembedding_recv(internal, oid, integer) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sparseembedding_recv';
COMMENT ON FUNCTION sparseembedding_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION sparseembedding_send(sparseembedding) RETURNS bytea
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sparseembedding_send';
COMMENT ON FUNCTION sparseembedding_send(sparseembedding) IS 'I/O';

CREATE FUNCTION sparseembedding_typanalyze(internal) RETURNS boolean
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sparseembedding_typanalyze';
COMMENT ON FUNCTION sparseembedding_typanalyze(internal) IS 'statistics of a column of sparseembeddings';

CREATE FUNCTION sparseembedding_typmod_in(cstring[]) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sparseembedding_typmod_in';
COMMENT ON FUNCTION sparseembedding_typmod_in(cstring[]) IS 'I/O type modifier';

CREATE TYPE sparseembedding (
	INPUT = sparseembedding_in,
	OUTPUT = sparseembedding_out,
	RECEIVE = sparseembedding_recv,
	SEND = sparseembedding_send,
	TYPMOD_IN = sparseembedding_typmod_in,
	ANALYZE = sparseembedding_typanalyze,
	STORAGE = main,
	CATEGORY = 'V'
);
COMMENT ON TYPE sparseembedding IS 'vector with few elements that are not zero, sparseembedding(d) for a fixed number of dimensions';

-- Functions by name

CREATE FUNCTION ds_dims(sparseembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_dims';
COMMENT ON FUNCTION ds_dims(sparseembedding) IS 'number of dimensions';

CREATE FUNCTION ds_norm(sparseembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_norm';
COMMENT ON FUNCTION ds_norm(sparseembedding) IS 'Euclidean length';

CREATE FUNCTION ds_normalize(sparseembedding) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_normalize';
COMMENT ON FUNCTION ds_normalize(sparseembedding) IS 'the vector scaled to length 1; a zero vector stays as it is';

CREATE FUNCTION ds_nonzero(sparseembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_nonzero';
COMMENT ON FUNCTION ds_nonzero(sparseembedding) IS 'number of elements that are not zero';

CREATE FUNCTION ds_cosine_distance(sparseembedding, sparseembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_cosine_distance';
COMMENT ON FUNCTION ds_cosine_distance(sparseembedding, sparseembedding) IS '1 - cosine of the angle, 0 to 2; NaN when one vector is zero';

CREATE FUNCTION ds_l2_distance(sparseembedding, sparseembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_l2_distance';
COMMENT ON FUNCTION ds_l2_distance(sparseembedding, sparseembedding) IS 'Euclidean distance';

CREATE FUNCTION ds_inner_product(sparseembedding, sparseembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_inner_product';
COMMENT ON FUNCTION ds_inner_product(sparseembedding, sparseembedding) IS 'inner product';

CREATE FUNCTION ds_negative_inner_product(sparseembedding, sparseembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_negative_inner_product';
COMMENT ON FUNCTION ds_negative_inner_product(sparseembedding, sparseembedding) IS 'inner product with its sign changed, so that the best comes first';

CREATE FUNCTION ds_taxicab_distance(sparseembedding, sparseembedding) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_taxicab_distance';
COMMENT ON FUNCTION ds_taxicab_distance(sparseembedding, sparseembedding) IS 'sum of the absolute differences';

-- Distances

CREATE OPERATOR <=> (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = ds_cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (sparseembedding, sparseembedding) IS 'cosine distance, 0 to 2; NaN when one vector is zero';

CREATE OPERATOR <-> (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = ds_l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (sparseembedding, sparseembedding) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = ds_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (sparseembedding, sparseembedding) IS 'negative inner product';

CREATE OPERATOR <+> (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = ds_taxicab_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (sparseembedding, sparseembedding) IS 'taxicab distance';

-- Comparison: element by element, zeros included, then the number of dimensions.

CREATE FUNCTION sparseembedding_lt(sparseembedding, sparseembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_lt';
COMMENT ON FUNCTION sparseembedding_lt(sparseembedding, sparseembedding) IS 'implementation of < operator';

CREATE FUNCTION sparseembedding_le(sparseembedding, sparseembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_le';
COMMENT ON FUNCTION sparseembedding_le(sparseembedding, sparseembedding) IS 'implementation of <= operator';

CREATE FUNCTION sparseembedding_eq(sparseembedding, sparseembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_eq';
COMMENT ON FUNCTION sparseembedding_eq(sparseembedding, sparseembedding) IS 'implementation of = operator';

CREATE FUNCTION sparseembedding_ne(sparseembedding, sparseembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_ne';
COMMENT ON FUNCTION sparseembedding_ne(sparseembedding, sparseembedding) IS 'implementation of <> operator';

CREATE FUNCTION sparseembedding_ge(sparseembedding, sparseembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_ge';
COMMENT ON FUNCTION sparseembedding_ge(sparseembedding, sparseembedding) IS 'implementation of >= operator';

CREATE FUNCTION sparseembedding_gt(sparseembedding, sparseembedding) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_gt';
COMMENT ON FUNCTION sparseembedding_gt(sparseembedding, sparseembedding) IS 'implementation of > operator';

CREATE OPERATOR < (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = sparseembedding_lt,
	COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (sparseembedding, sparseembedding) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = sparseembedding_le,
	COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (sparseembedding, sparseembedding) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = sparseembedding_eq,
	COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR = (sparseembedding, sparseembedding) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = sparseembedding_ne,
	COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (sparseembedding, sparseembedding) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = sparseembedding_ge,
	COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (sparseembedding, sparseembedding) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = sparseembedding, RIGHTARG = sparseembedding, FUNCTION = sparseembedding_gt,
	COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (sparseembedding, sparseembedding) IS 'greater than';

CREATE FUNCTION sparseembedding_cmp(sparseembedding, sparseembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_cmp';
COMMENT ON FUNCTION sparseembedding_cmp(sparseembedding, sparseembedding) IS 'less-equal-greater';

CREATE FUNCTION sparseembedding_hash(sparseembedding) RETURNS integer
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_hash';
COMMENT ON FUNCTION sparseembedding_hash(sparseembedding) IS 'hash';

CREATE FUNCTION sparseembedding_hash_extended(sparseembedding, bigint) RETURNS bigint
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_hash_extended';
COMMENT ON FUNCTION sparseembedding_hash_extended(sparseembedding, bigint) IS 'hash';

CREATE OPERATOR FAMILY sparseembedding_ops USING btree;
COMMENT ON OPERATOR FAMILY sparseembedding_ops USING btree IS 'order of sparseembeddings';

CREATE OPERATOR CLASS sparseembedding_ops DEFAULT FOR TYPE sparseembedding USING btree FAMILY sparseembedding_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 sparseembedding_cmp(sparseembedding, sparseembedding);
COMMENT ON OPERATOR CLASS sparseembedding_ops USING btree IS 'order of sparseembeddings, element by element';

CREATE OPERATOR FAMILY sparseembedding_ops USING hash;
COMMENT ON OPERATOR FAMILY sparseembedding_ops USING hash IS 'equality of sparseembeddings';

CREATE OPERATOR CLASS sparseembedding_ops DEFAULT FOR TYPE sparseembedding USING hash FAMILY sparseembedding_ops AS
	OPERATOR 1 =,
	FUNCTION 1 sparseembedding_hash(sparseembedding),
	FUNCTION 2 sparseembedding_hash_extended(sparseembedding, bigint);
COMMENT ON OPERATOR CLASS sparseembedding_ops USING hash IS 'equality of sparseembeddings';

-- Casts, on assignment only: the other types are not sparse, so that a distance to
-- one of them is better computed there.

CREATE FUNCTION sparseembedding(sparseembedding, integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_coerce';
COMMENT ON FUNCTION sparseembedding(sparseembedding, integer, boolean) IS 'check of the number of dimensions';

CREATE CAST (sparseembedding AS sparseembedding) WITH FUNCTION sparseembedding(sparseembedding, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (sparseembedding AS sparseembedding) IS 'check of the number of dimensions';

CREATE FUNCTION sparseembedding(embedding, integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_from_embedding';
COMMENT ON FUNCTION sparseembedding(embedding, integer, boolean) IS 'the elements that are not zero';

CREATE CAST (embedding AS sparseembedding) WITH FUNCTION sparseembedding(embedding, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (embedding AS sparseembedding) IS 'the elements that are not zero';

CREATE FUNCTION sparseembedding(halfembedding, integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_from_half';
COMMENT ON FUNCTION sparseembedding(halfembedding, integer, boolean) IS 'the elements that are not zero';

CREATE CAST (halfembedding AS sparseembedding) WITH FUNCTION sparseembedding(halfembedding, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (halfembedding AS sparseembedding) IS 'the elements that are not zero';

CREATE FUNCTION embedding(sparseembedding, integer, boolean) RETURNS embedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_to_embedding';
COMMENT ON FUNCTION embedding(sparseembedding, integer, boolean) IS 'all elements; up to 16,000 dimensions';

CREATE CAST (sparseembedding AS embedding) WITH FUNCTION embedding(sparseembedding, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (sparseembedding AS embedding) IS 'all elements; up to 16,000 dimensions';

CREATE FUNCTION halfembedding(sparseembedding, integer, boolean) RETURNS halfembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_to_half';
COMMENT ON FUNCTION halfembedding(sparseembedding, integer, boolean) IS 'all elements, rounded; up to 16,000 dimensions';

CREATE CAST (sparseembedding AS halfembedding) WITH FUNCTION halfembedding(sparseembedding, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (sparseembedding AS halfembedding) IS 'all elements, rounded; up to 16,000 dimensions';

CREATE FUNCTION sparseembedding(real[], integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_from_array';
COMMENT ON FUNCTION sparseembedding(real[], integer, boolean) IS 'the elements of an array without nulls that are not zero';

CREATE CAST (real[] AS sparseembedding) WITH FUNCTION sparseembedding(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS sparseembedding) IS 'the elements of an array without nulls that are not zero';

CREATE FUNCTION sparseembedding(double precision[], integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_from_array';
COMMENT ON FUNCTION sparseembedding(double precision[], integer, boolean) IS 'the elements of an array without nulls that are not zero';

CREATE CAST (double precision[] AS sparseembedding) WITH FUNCTION sparseembedding(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS sparseembedding) IS 'the elements of an array without nulls that are not zero';

CREATE FUNCTION sparseembedding(integer[], integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_from_array';
COMMENT ON FUNCTION sparseembedding(integer[], integer, boolean) IS 'the elements of an array without nulls that are not zero';

CREATE CAST (integer[] AS sparseembedding) WITH FUNCTION sparseembedding(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS sparseembedding) IS 'the elements of an array without nulls that are not zero';

CREATE FUNCTION sparseembedding(numeric[], integer, boolean) RETURNS sparseembedding
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_from_array';
COMMENT ON FUNCTION sparseembedding(numeric[], integer, boolean) IS 'the elements of an array without nulls that are not zero';

CREATE CAST (numeric[] AS sparseembedding) WITH FUNCTION sparseembedding(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS sparseembedding) IS 'the elements of an array without nulls that are not zero';

CREATE FUNCTION sparseembedding_to_real(sparseembedding) RETURNS real[]
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_sparseembedding_to_real';
COMMENT ON FUNCTION sparseembedding_to_real(sparseembedding) IS 'all elements; up to 16,000 dimensions';

CREATE CAST (sparseembedding AS real[]) WITH FUNCTION sparseembedding_to_real(sparseembedding) AS ASSIGNMENT;
COMMENT ON CAST (sparseembedding AS real[]) IS 'all elements; up to 16,000 dimensions';
