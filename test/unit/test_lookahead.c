/*
 * test_lookahead.c
 *		What a scan's distance function asks memory for: the rows that come, and
 *		nothing where rows are met at random.
 */
#include <stdint.h>

static void asked_for(uintptr_t address);
#define DS_LOOKAHEAD_PREFETCH(address) asked_for(address)

#include "base/random.h"
#include "unit.h"
#include "vector/lookahead.h"

#define PAGE 8192
#define PAGES 64
#define LINE 64

/* one flag for every line of a buffer pool; addresses outside of it are counted */
static char *pool;
static unsigned char asked[PAGES * PAGE / LINE];
static long outside;
static long requests;

static void
asked_for(uintptr_t address)
{
	uintptr_t offset = address - (uintptr_t) pool;

	requests++;
	if (offset < (uintptr_t) PAGES * PAGE)
		asked[offset / LINE] = 1;
	else
		outside++;
}

static void
forget(void)
{
	memset(asked, 0, sizeof asked);
	outside = 0;
	requests = 0;
}

/* the share of a vector's lines that had been asked for */
static double
share_asked(const char *x, size_t size)
{
	size_t from = (size_t) (x - pool) / LINE;
	size_t to = (size_t) (x - pool + (ptrdiff_t) size - 1) / LINE;
	size_t count = 0;

	for (size_t line = from; line <= to; line++)
		count += asked[line];
	return (double) count / (double) (to - from + 1);
}

/*
 * Scan pages in the order that direction says (1: ascending, -1), each with
 * rows from its end to its start, whose sizes vary by up to jitter bytes.
 * Returns the mean share of lines asked for before the row was read.
 */
static double
scan(size_t size, int direction, size_t jitter)
{
	DsLookahead state = {0};
	DsRandom random;
	double sum = 0;
	long rows = 0;

	ds_random_init(&random, 1, 0);
	forget();
	for (int i = 0; i < PAGES; i++)
	{
		char *page = pool + PAGE * (direction > 0 ? i : PAGES - 1 - i);
		char *row = page + PAGE;

		for (;;)
		{
			size_t more = jitter > 0 ? ds_random_below(&random, jitter) : 0;

			row -= (36 + size + more + 7) / 8 * 8;
			if (row < page + 256)
				break;
			sum += share_asked(row + 36, size);
			rows++;
			ds_lookahead(&state, row + 36, size, page);
		}
	}
	return sum / (double) rows;
}

int
main(void)
{
	static const size_t dims[] = {64, 128, 384, 768, 1024, 1900};

	pool = aligned_alloc(PAGE, (size_t) PAGES * PAGE);
	if (pool == NULL)
		return 1;

	for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++)
		for (int direction = -1; direction <= 1; direction += 2)
		{
			double share = scan(dims[i] * sizeof(float), direction, 0);

			CHECK(share > 0.9, "%zu dimensions, pages %s: %.0f %% of the lines were asked for",
				  dims[i], direction > 0 ? "ascending" : "descending", 100 * share);
			/* no more than the lines of the table, again in the first page and beyond the last */
			CHECK(requests < 1.25 * PAGES * PAGE / LINE, "%ld requests for %d lines", requests,
				  PAGES * PAGE / LINE);
		}
	{
		double share = scan(128 * sizeof(float), 1, 64);

		CHECK(share > 0.7, "rows of varying width: %.0f %% of the lines were asked for",
			  100 * share);
	}

	/* an index scan: pages at random, one row of each */
	{
		DsLookahead state = {0};
		DsRandom random;
		long visits = 0;

		ds_random_init(&random, 2, 0);
		forget();
		for (int i = 0; i < 10000; i++)
		{
			size_t page = ds_random_below(&random, PAGES);
			size_t row = ds_random_below(&random, 14);

			visits++;
			ds_lookahead(&state, pool + page * PAGE + PAGE - (row + 1) * 552 + 36, 512,
						 pool + page * PAGE);
		}
		/* two in one page or two equal steps in a row do happen, one time in PAGES */
		CHECK(requests < visits, "rows at random: %ld requests in %ld visits", requests, visits);
	}

	/* the constant side, and a nested loop over one page */
	{
		DsLookahead state = {0};

		forget();
		for (int i = 0; i < 1000; i++)
			ds_lookahead(&state, pool + 1000, 512, pool);
		CHECK(requests == 0, "a value that stays asks for nothing");
		for (int i = 0; i < 100000; i++)
			ds_lookahead(&state, pool + 4096 + i % 5 * 552, 512, pool);
		CHECK(state.index <= DS_LOOKAHEAD_PER_PAGE, "a page that is never left is no overflow");
	}
	free(pool);
	return unit_done();
}
