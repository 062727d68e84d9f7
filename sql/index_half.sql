-- Operator classes of the access method deepsearch for halfembedding.
--
-- The strategy number says which distance it is, as for embedding, and from 4 on
-- that the vectors have half floats.

CREATE OPERATOR CLASS halfembedding_cosine_ops DEFAULT FOR TYPE halfembedding USING deepsearch AS
	OPERATOR 4 <=> (halfembedding, halfembedding) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS halfembedding_cosine_ops USING deepsearch IS
	'cosine distance, ORDER BY halfembedding <=> query';
COMMENT ON OPERATOR FAMILY halfembedding_cosine_ops USING deepsearch IS
	'cosine distance';

CREATE OPERATOR CLASS halfembedding_l2_ops FOR TYPE halfembedding USING deepsearch AS
	OPERATOR 5 <-> (halfembedding, halfembedding) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS halfembedding_l2_ops USING deepsearch IS
	'Euclidean distance, ORDER BY halfembedding <-> query';
COMMENT ON OPERATOR FAMILY halfembedding_l2_ops USING deepsearch IS
	'Euclidean distance';

CREATE OPERATOR CLASS halfembedding_ip_ops FOR TYPE halfembedding USING deepsearch AS
	OPERATOR 6 <#> (halfembedding, halfembedding) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS halfembedding_ip_ops USING deepsearch IS
	'inner product, ORDER BY halfembedding <#> query';
COMMENT ON OPERATOR FAMILY halfembedding_ip_ops USING deepsearch IS
	'inner product';
