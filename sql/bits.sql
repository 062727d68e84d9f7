-- The server's type bit as a code of vectors.

CREATE FUNCTION ds_binarize(embedding) RETURNS bit
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_embedding_binarize';
COMMENT ON FUNCTION ds_binarize(embedding) IS 'one bit an element: 1 where it is above zero';

CREATE FUNCTION ds_binarize(halfembedding) RETURNS bit
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT embedding_support
	AS 'MODULE_PATHNAME', 'ds_halfembedding_binarize';
COMMENT ON FUNCTION ds_binarize(halfembedding) IS 'one bit an element: 1 where it is above zero';

CREATE FUNCTION ds_hamming_distance(bit, bit) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_bit_hamming_distance';
COMMENT ON FUNCTION ds_hamming_distance(bit, bit) IS 'number of bits that differ';

CREATE FUNCTION ds_jaccard_distance(bit, bit) RETURNS double precision
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ds_bit_jaccard_distance';
COMMENT ON FUNCTION ds_jaccard_distance(bit, bit) IS '1 - bits set in both / bits set in one or both, 0 to 1; 1 when no bit is set in both';

CREATE OPERATOR <~> (
	LEFTARG = bit, RIGHTARG = bit, FUNCTION = ds_hamming_distance, COMMUTATOR = <~>
);
COMMENT ON OPERATOR <~> (bit, bit) IS 'Hamming distance';

CREATE OPERATOR <%> (
	LEFTARG = bit, RIGHTARG = bit, FUNCTION = ds_jaccard_distance, COMMUTATOR = <%>
);
COMMENT ON OPERATOR <%> (bit, bit) IS 'Jaccard distance';
