/*
 * index_bench.h
 *		What the generator and the client of the index benchmark agree on.
 */
#ifndef INDEX_BENCH_H
#define INDEX_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"

#define BENCH_MAGIC 0x62786e69
#define BENCH_NEAREST 100 /* neighbours known of a query */

/*
 * A file of queries: this header, float[queries][dimensions], then for each
 * set, for each query, int32[BENCH_NEAREST] row ids, nearest first, -1 beyond
 * the last; and in the same order, their inner products with the query.  In the
 * machine's byte order: it is made where it is used.
 */
typedef struct BenchHeader
{
	uint32_t magic;
	uint32_t queries;
	uint32_t dimensions;
	uint32_t sets;
} BenchHeader;

/* The rows that neighbours are taken from; `rows` were loaded, more inserted later. */
enum
{
	BENCH_ALL,
	BENCH_TENTH, /* WHERE bucket < 10 */
	BENCH_HUNDREDTH, /* WHERE bucket = 7 */
	BENCH_INSERTED, /* after the inserts */
	BENCH_HALF, /* after the inserts, and then a DELETE WHERE id % 2 = 0 */
	BENCH_SETS
};

/* Column "bucket" of a row: 0 .. 99, independent of everything else */
static inline uint32_t
bench_bucket(uint64_t id)
{
	return (uint32_t) (ds_mix64(id + 0x6275636b) % 100);
}

static inline bool
bench_in_set(int set, uint64_t id, uint64_t rows)
{
	switch (set)
	{
		case BENCH_ALL:
			return id < rows;
		case BENCH_TENTH:
			return id < rows && bench_bucket(id) < 10;
		case BENCH_HUNDREDTH:
			return id < rows && bench_bucket(id) == 7;
		case BENCH_INSERTED:
			return true;
		default:
			return id % 2 != 0;
	}
}

#endif /* INDEX_BENCH_H */
