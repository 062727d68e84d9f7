/*
 * test_base.c
 *		Status, arena, random numbers, BLAS wrapper.
 */
#include "unit.h"

#include "base/arena.h"
#include "base/blas.h"
#include "base/cpu.h"
#include "base/random.h"
#include "base/status.h"

static void
test_status(void)
{
	DsStatus status;
	char text[2000];

	CHECK(ds_fail(&status, DS_INVALID, "bad %d", 7) == DS_INVALID &&
			  strcmp(status.message, "bad 7") == 0,
		  "a message is formatted");
	CHECK(ds_fail(NULL, DS_BAD_DATA, "x") == DS_BAD_DATA, "a status may be absent");
	for (int shift = 0; shift < 3; shift++)
	{
		size_t n;
		int whole;

		memset(text, 'a', sizeof(text));
		for (size_t i = (size_t) shift; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe8\xa3\x99", 3);
		text[sizeof(text) - 1] = '\0';
		ds_fail(&status, DS_INVALID, "%s", text);
		n = strlen(status.message);
		whole = (n - (size_t) shift) % 3 == 0;
		CHECK(whole && n > DS_MESSAGE_SIZE - 5, "a long message is cut between characters (%d)",
			  shift);
	}
}

static void
test_arena(void)
{
	DsArena arena;
	DsArenaMark mark;
	char *kept;
	int misaligned = 0;

	ds_arena_init(&arena, NULL);
	kept = ds_arena_alloc(&arena, 1, 100);
	memset(kept, 1, 100);
	mark = ds_arena_mark(&arena);
	for (size_t i = 0; i < 2000; i++)
	{
		char *p = ds_arena_alloc(&arena, i, 7);

		if (((uintptr_t) p & 63) != 0)
			misaligned++;
		memset(p, 2, i * 7);
	}
	CHECK(misaligned == 0, "allocations are aligned to 64 bytes");
	CHECK(ds_arena_alloc(&arena, SIZE_MAX / 4, 8) == NULL, "an overflowing size is refused");
	ds_arena_rewind(&arena, mark);
	CHECK(kept[0] == 1 && kept[99] == 1 && arena.allocated == 8192,
		  "rewind keeps what came before");
	{
		char *first = ds_arena_alloc(&arena, 1, 3000000);
		char *second = ds_arena_alloc(&arena, 1, 5000000);
		char *small = ds_arena_alloc(&arena, 1, 100);
		size_t before = arena.allocated;

		memset(first, 3, 3000000);
		memset(second, 4, 5000000);
		small[99] = 5;
		ds_arena_release(&arena, first);
		CHECK(arena.allocated <= before - 3000000, "a large piece is given back");
		before = arena.allocated;
		ds_arena_release(&arena, small);
		ds_arena_release(&arena, second + 64);
		ds_arena_release(&arena, NULL);
		CHECK(arena.allocated == before && second[4999999] == 4 && small[99] == 5 && kept[99] == 1,
			  "others stay");
	}
	ds_arena_free(&arena);
	CHECK(arena.allocated == 0 && arena.chunks == NULL, "free returns everything");
}

static void
test_random(void)
{
	DsRandom a;
	DsRandom b;
	double sum = 0;
	double square = 0;
	int counts[7] = {0};
	int even = 1;
	uint32_t permutation[100];
	int seen[100] = {0};
	int complete = 1;

	ds_random_init(&a, 1, 0);
	ds_random_init(&b, 1, 1);
	CHECK(ds_random_next(&a) != ds_random_next(&b), "streams differ");
	for (int i = 0; i < 100000; i++)
	{
		double x = ds_random_normal(&a);

		sum += x;
		square += x * x;
		counts[ds_random_below(&a, 7)]++;
	}
	CHECK(fabs(sum / 1e5) < 0.02 && fabs(square / 1e5 - 1) < 0.02,
		  "normal: mean %.4f, variance %.4f", sum / 1e5, square / 1e5);
	for (int i = 0; i < 7; i++)
		even = even && abs(counts[i] - 14286) < 600;
	CHECK(even, "below is uniform");
	ds_random_permutation(&a, permutation, 100);
	for (int i = 0; i < 100; i++)
		seen[permutation[i]]++;
	for (int i = 0; i < 100; i++)
		complete = complete && seen[i] == 1;
	CHECK(complete, "a permutation has every number once");
	/* the reference implementation's first numbers from the state 1, 2, 3, 4 */
	a = (DsRandom){{1, 2, 3, 4}};
	CHECK(ds_random_next(&a) == 41943041 && ds_random_next(&a) == 58720359, "xoshiro256++");
	ds_random_init(&a, 42, 0);
	CHECK(ds_random_next(&a) == UINT64_C(0x5b5e4a1bffcbb2f3),
		  "a seed gives the same numbers for good");
}

static void
test_blas(void)
{
	const float a[6] = {1, 2, 3, 4, 5, 6};
	const float b[6] = {1, 0, 2, 1, 0, 3};
	float c[9];
	float y[3];

	/* [2, 3] * [3, 2] */
	ds_gemm(0, 0, 2, 2, 3, 1, a, 3, b, 2, 0, c, 2);
	CHECK(c[0] == 5 && c[1] == 11 && c[2] == 14 && c[3] == 23, "gemm");
	/* [2, 3]^T * [2, 3] */
	ds_gemm(1, 0, 3, 3, 2, 1, a, 3, b, 3, 0, c, 3);
	CHECK(c[0] == 5 && c[1] == 0 && c[2] == 14 && c[8] == 24, "gemm, first matrix transposed");
	ds_gemv(0, 2, 3, a, b, y);
	CHECK(y[0] == 7 && y[1] == 16, "gemv");
	ds_gemv(1, 2, 3, a, b, y);
	CHECK(y[0] == 1 && y[1] == 2 && y[2] == 3, "gemv, transposed");
}

int
main(void)
{
	test_status();
	test_arena();
	test_random();
	test_blas();
	CHECK(ds_cpu_level_name(ds_cpu_level()) != NULL, "processor level: %s",
		  ds_cpu_level_name(ds_cpu_level()));
	return unit_done();
}
