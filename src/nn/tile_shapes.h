/*
 * tile_shapes.h
 *		A function for each shape of a tile: 1 to TILE_ROWS rows by 1 to TILE_VECTORS
 *		registers.  Included where TILE(rows, vectors) defines one, WHAT_ROWS_VECTORS;
 *		then TABLE(WHAT) has them all, [TILE_VECTORS][TILE_ROWS].
 *
 * (No guard: each file of kernels has tiles of its own.)
 */
#undef HEIGHTS
#undef NAMES
#undef TABLE

#if TILE_ROWS == 8
#define HEIGHTS(vectors) \
	TILE(1, vectors)     \
	TILE(2, vectors)     \
	TILE(3, vectors)     \
	TILE(4, vectors) TILE(5, vectors) TILE(6, vectors) TILE(7, vectors) TILE(8, vectors)
#define NAMES(what, vectors)                                                               \
	{                                                                                      \
		what##_1_##vectors, what##_2_##vectors, what##_3_##vectors, what##_4_##vectors,    \
			what##_5_##vectors, what##_6_##vectors, what##_7_##vectors, what##_8_##vectors \
	}
#elif TILE_ROWS == 6
#define HEIGHTS(vectors) \
	TILE(1, vectors)     \
	TILE(2, vectors) TILE(3, vectors) TILE(4, vectors) TILE(5, vectors) TILE(6, vectors)
#define NAMES(what, vectors)                                                            \
	{                                                                                   \
		what##_1_##vectors, what##_2_##vectors, what##_3_##vectors, what##_4_##vectors, \
			what##_5_##vectors, what##_6_##vectors                                      \
	}
#else
#define HEIGHTS(vectors) TILE(1, vectors) TILE(2, vectors) TILE(3, vectors) TILE(4, vectors)
#define NAMES(what, vectors)                                                           \
	{                                                                                  \
		what##_1_##vectors, what##_2_##vectors, what##_3_##vectors, what##_4_##vectors \
	}
#endif

HEIGHTS(1)
HEIGHTS(2)
#if TILE_VECTORS == 3
HEIGHTS(3)
#define TABLE(what)                                    \
	{                                                  \
		NAMES(what, 1), NAMES(what, 2), NAMES(what, 3) \
	}
#else
#define TABLE(what)                    \
	{                                  \
		NAMES(what, 1), NAMES(what, 2) \
	}
#endif

#undef TILE
