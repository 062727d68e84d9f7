/*
 * test_bits.c
 *		Strings of bits: every version of the kernels against counting bit by bit.
 *
 * Strings lie at the very end of a page that is followed by one without access,
 * so a load beyond the last byte ends the program.
 */
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "unit.h"
#include "vector/kernels_bits.h"

static uint8_t *
guarded_end(void)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	char *base = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED || mprotect(base + page, page, PROT_NONE) != 0)
	{
		perror("mmap");
		exit(1);
	}
	return (uint8_t *) base + page;
}

static void
test_counts(void)
{
	static const DsCpuLevel levels[] = {DS_CPU_PORTABLE, DS_CPU_AVX2, DS_CPU_AVX512,
										DS_CPU_AVX512_VNNI};
	uint8_t *end_a = guarded_end();
	uint8_t *end_b = guarded_end();
	DsRandom random;

	ds_random_init(&random, 1, 0);
	for (int l = 0; l < 4; l++)
	{
		const DsBitKernels *k = ds_bit_kernels_at(levels[l]);
		long wrong = 0;

		if (k == NULL)
			continue;
		for (size_t bytes = 0; bytes <= 2001; bytes += bytes < 300 ? 1 : 41)
			for (int kind = 0; kind < 4; kind++)
			{
				size_t shift = ds_random_below(&random, 9);
				uint8_t *a = end_a - bytes - (kind % 2 ? shift : 0);
				uint8_t *b = end_b - bytes - (kind % 2 ? 0 : shift);
				uint64_t differ = 0;
				uint64_t both = 0;
				uint64_t either = 0;
				DsBitCounts got;

				for (size_t i = 0; i < bytes; i++)
				{
					a[i] = kind == 0 ? 0xff : (uint8_t) ds_random_below(&random, 256);
					b[i] = kind == 0   ? 0
						   : kind == 3 ? a[i]
									   : (uint8_t) ds_random_below(&random, 256);
					for (int j = 0; j < 8; j++)
					{
						int x = a[i] >> j & 1;
						int y = b[i] >> j & 1;

						differ += x != y;
						both += x && y;
						either += x || y;
					}
				}
				got = k->counts(a, b, bytes);
				wrong +=
					k->hamming(a, b, bytes) != differ || got.both != both || got.either != either;
			}
		CHECK(wrong == 0, "%s: bits are counted (%ld wrong)", ds_cpu_level_name(k->level), wrong);
	}
}

static void
test_signs(void)
{
	static const float x[11] = {1, 0, -1, 0x1p-149f, -0.0f, 3, -3, 1e38f, 0, 2, -2};
	uint8_t bits[3] = {77, 77, 77};

	ds_bits_of_signs(x, 11, bits);
	CHECK(bits[0] == 0x95 && bits[1] == 0x40 && bits[2] == 77,
		  "what is above zero is 1, the first element in the highest bit");
	ds_bits_of_signs(x, 8, bits);
	CHECK(bits[0] == 0x95 && bits[1] == 0x40, "8 of them are one byte");
}

int
main(void)
{
	CHECK(ds_bit_kernels() != NULL && ds_bit_kernels() == ds_bit_kernels(), "a table is chosen");
	CHECK(ds_bit_kernels_at(DS_CPU_PORTABLE) != NULL, "there is always a portable version");
	test_counts();
	test_signs();
	CHECK(ds_bit_jaccard((const uint8_t *) "\xf0", (const uint8_t *) "\x3c", 1) == 1 - 2.0 / 6 &&
			  ds_bit_jaccard((const uint8_t *) "\0", (const uint8_t *) "\0", 1) == 1 &&
			  ds_bit_jaccard((const uint8_t *) "\1", (const uint8_t *) "\1", 1) == 0,
		  "Jaccard distances");
	return unit_done();
}
