/*
 * index_data.c
 *		Vectors like those of an embedding model, for the benchmark of the index.
 *
 *	index_data rows KIND DIMS FIRST COUNT
 *		Rows FIRST .. FIRST + COUNT - 1 as binary COPY of (id int, bucket int,
 *		emb embedding or vector: both have the same binary form).
 *	index_data truth KIND DIMS ROWS EXTRA QUERIES
 *		A file for index_client: QUERIES held-out vectors and, by comparing each
 *		with every row, the 100 nearest rows among several sets (below).
 *	index_data dimension KIND DIMS ROWS QUERIES
 *		The local intrinsic dimension that QUERIES held-out vectors see: the
 *		maximum-likelihood estimate over their 100 nearest rows, inverses
 *		averaged (Levina & Bickel, NIPS 2004; MacKay & Ghahramani's correction).
 *
 * All vectors have length one, so that every distance gives the same order.
 * A vector is a cluster's centre, plus a point of a normal distribution in the
 * cluster's own subspace, whose axes are weighted by a power law, plus a little
 * noise in all dimensions.  Sizes of clusters follow a power law, and their
 * widths differ.  The two kinds differ in the number of axes, their law and the
 * width beside the distance of centres:
 *
 *	clustered	local intrinsic dimension about 9
 *	hard		about 21
 *
 * Row i depends on (kind, dimensions, i) alone, so rows and truth can be made
 * apart; queries are rows from 2^40 on.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/blas.h"
#include "base/random.h"
#include "index_bench.h"

#define CLUSTERS 1000
#define DIRECTIONS 1024
#define AXES_MOST 64
#define FIRST_QUERY (1ULL << 40)
#define TILE 2048

typedef struct Kind
{
	const char *name;
	int clusters; /* CLUSTERS at most */
	int axes;
	float law; /* axis k has the weight (k + 1)^-law */
	float width; /* of a cluster, centres having length one; in all axes together */
	float spread; /* of the logarithm of the width */
	float noise; /* length, in all dimensions together */
} Kind;

static const Kind kinds[] = {
	{"clustered", 400, 16, 0.5f, 0.55f, 0.25f, 0.02f},
	{"hard", 100, 48, 0.25f, 0.9f, 0.15f, 0.05f},
};

typedef struct Cluster
{
	float width;
	int axis[AXES_MOST]; /* a direction */
} Cluster;

typedef struct Model
{
	const Kind *kind;
	int d;
	float *direction; /* [DIRECTIONS, d], length one */
	float *centre; /* [CLUSTERS, d] */
	Cluster cluster[CLUSTERS];
	double cumulated[CLUSTERS]; /* of the sizes */
	float weight[AXES_MOST]; /* squares add up to one */
} Model;

static void
fail(const char *message)
{
	fprintf(stderr, "index_data: %s\n", message);
	exit(2);
}

static void *
allocate(size_t count, size_t size)
{
	void *result = calloc(count, size);

	if (result == NULL)
		fail("out of memory");
	return result;
}

static void
normalise(float *x, int d)
{
	double square = 0;

	for (int i = 0; i < d; i++)
		square += (double) x[i] * x[i];
	for (int i = 0; i < d; i++)
		x[i] = (float) (x[i] / sqrt(square));
}

static void
model_make(Model *model, const char *name, int d)
{
	DsRandom random;
	double total = 0;
	double squares = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			model->kind = &kinds[i];
	if (model->kind == NULL)
		fail("the kind is clustered or hard");
	model->d = d;
	model->direction = allocate((size_t) DIRECTIONS * d, sizeof(float));
	model->centre = allocate((size_t) CLUSTERS * d, sizeof(float));

	ds_random_init(&random, (uint64_t) d, (uint64_t) (model->kind - kinds));
	for (int i = 0; i < DIRECTIONS; i++)
	{
		float *direction = model->direction + (size_t) i * d;

		for (int j = 0; j < d; j++)
			direction[j] = (float) ds_random_normal(&random);
		normalise(direction, d);
	}
	for (int k = 0; k < model->kind->axes; k++)
	{
		model->weight[k] = powf((float) (k + 1), -model->kind->law);
		squares += (double) model->weight[k] * model->weight[k];
	}
	for (int k = 0; k < model->kind->axes; k++)
		model->weight[k] /= (float) sqrt(squares);
	for (int c = 0; c < model->kind->clusters; c++)
	{
		float *centre = model->centre + (size_t) c * d;

		/* centres lie near each other in some directions more than in others */
		for (int j = 0; j < d; j++)
			centre[j] = (float) (ds_random_normal(&random) / sqrt(1 + 8.0 * j / d));
		normalise(centre, d);
		model->cluster[c].width =
			model->kind->width * (float) exp(model->kind->spread * ds_random_normal(&random));
		for (int k = 0; k < model->kind->axes; k++)
			model->cluster[c].axis[k] = (int) ds_random_below(&random, DIRECTIONS);
		total += pow(c + 20, -0.7);
		model->cumulated[c] = total;
	}
	for (int c = 0; c < model->kind->clusters; c++)
		model->cumulated[c] /= total;
}

static void
model_row(const Model *model, uint64_t number, float *restrict x)
{
	const Kind *kind = model->kind;
	int d = model->d;
	float noise = kind->noise / sqrtf((float) d);
	const Cluster *cluster;
	DsRandom random;
	double at;
	int low = 0;
	int high = kind->clusters - 1;

	ds_random_init(&random, 0x726f77, number);
	at = ds_random_double(&random);
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (model->cumulated[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	cluster = &model->cluster[low];
	memcpy(x, model->centre + (size_t) low * d, sizeof(float) * (size_t) d);
	for (int k = 0; k < kind->axes; k++)
	{
		const float *restrict axis = model->direction + (size_t) cluster->axis[k] * d;
		float z = cluster->width * model->weight[k] * (float) ds_random_normal(&random);

		for (int j = 0; j < d; j++)
			x[j] += z * axis[j];
	}

	/* uniform instead of normal: nobody can tell, and it takes a fifth of the time */
	for (int j = 0; j < d; j++)
		x[j] += noise * 1.7320508f * ((float) (ds_random_next(&random) >> 40) * 0x1p-23f - 1.0f);
	normalise(x, d);
}

/* ---- rows ---- */

static void
put16(char **to, uint16_t value)
{
	value = htons(value);
	memcpy(*to, &value, sizeof(value));
	*to += sizeof(value);
}

static void
put32(char **to, uint32_t value)
{
	value = htonl(value);
	memcpy(*to, &value, sizeof(value));
	*to += sizeof(value);
}

static void
rows_write(const Model *model, uint64_t first, uint64_t count)
{
	size_t d = (size_t) model->d;
	float *x = allocate(d, sizeof(float));
	char *record = allocate(64 + 4 * d, 1);

	fwrite("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19, 1, stdout);
	for (uint64_t i = first; i < first + count; i++)
	{
		char *to = record;

		model_row(model, i, x);
		put16(&to, 3);
		put32(&to, 4);
		put32(&to, (uint32_t) i);
		put32(&to, 4);
		put32(&to, bench_bucket(i));
		put32(&to, (uint32_t) (4 + 4 * d));
		put16(&to, (uint16_t) d);
		put16(&to, 0);
		for (size_t j = 0; j < d; j++)
		{
			uint32_t bits;

			memcpy(&bits, &x[j], sizeof(bits));
			put32(&to, bits);
		}
		if (fwrite(record, (size_t) (to - record), 1, stdout) != 1)
			fail("cannot write");
	}
	fwrite("\377\377", 2, 1, stdout);
	if (fflush(stdout) != 0)
		fail("cannot write");
}

/* ---- truth ---- */

/* The nearest rows of a query: by their inner products, a heap with the least on top. */
typedef struct Nearest
{
	float product[BENCH_NEAREST];
	int32_t id[BENCH_NEAREST];
	int count;
} Nearest;

static void
keep(Nearest *nearest, float product, int32_t id)
{
	int hole;

	if (nearest->count < BENCH_NEAREST)
	{
		hole = nearest->count++;
		while (hole > 0 && nearest->product[(hole - 1) / 2] > product)
		{
			nearest->product[hole] = nearest->product[(hole - 1) / 2];
			nearest->id[hole] = nearest->id[(hole - 1) / 2];
			hole = (hole - 1) / 2;
		}
	}
	else
	{
		int child;

		if (product <= nearest->product[0])
			return;
		hole = 0;
		while ((child = 2 * hole + 1) < BENCH_NEAREST)
		{
			if (child + 1 < BENCH_NEAREST && nearest->product[child + 1] < nearest->product[child])
				child++;
			if (nearest->product[child] >= product)
				break;
			nearest->product[hole] = nearest->product[child];
			nearest->id[hole] = nearest->id[child];
			hole = child;
		}
	}
	nearest->product[hole] = product;
	nearest->id[hole] = id;
}

/* nearest [BENCH_SETS, queries], sorted, nearest first */
static Nearest *
compare_all(const Model *model, uint64_t rows, uint64_t extra, const float *query, size_t queries)
{
	size_t d = (size_t) model->d;
	Nearest *nearest = allocate(BENCH_SETS * queries, sizeof(Nearest));
	float *tile = allocate(TILE * d, sizeof(float));
	float *product = allocate(TILE * queries, sizeof(float));

	for (uint64_t first = 0; first < rows + extra; first += TILE)
	{
		size_t n = rows + extra - first < TILE ? (size_t) (rows + extra - first) : TILE;

		for (size_t i = 0; i < n; i++)
			model_row(model, first + i, tile + i * d);
		ds_gemm(0, 1, n, queries, d, 1.0f, tile, d, query, d, 0.0f, product, queries);
		for (int s = 0; s < BENCH_SETS; s++)
			for (size_t i = 0; i < n; i++)
			{
				uint64_t id = first + i;

				if (!bench_in_set(s, id, rows))
					continue;
				for (size_t q = 0; q < queries; q++)
				{
					Nearest *here = &nearest[(size_t) s * queries + q];

					if (here->count < BENCH_NEAREST || product[i * queries + q] > here->product[0])
						keep(here, product[i * queries + q], (int32_t) id);
				}
			}
	}

	for (size_t i = 0; i < BENCH_SETS * queries; i++)
		for (int a = 1; a < nearest[i].count; a++)
		{
			float p = nearest[i].product[a];
			int32_t id = nearest[i].id[a];
			int b = a;

			for (; b > 0 && nearest[i].product[b - 1] < p; b--)
			{
				nearest[i].product[b] = nearest[i].product[b - 1];
				nearest[i].id[b] = nearest[i].id[b - 1];
			}
			nearest[i].product[b] = p;
			nearest[i].id[b] = id;
		}
	free(tile);
	free(product);
	return nearest;
}

static float *
make_queries(const Model *model, size_t queries)
{
	float *query = allocate(queries * (size_t) model->d, sizeof(float));

	for (size_t q = 0; q < queries; q++)
		model_row(model, FIRST_QUERY + q, query + q * (size_t) model->d);
	return query;
}

static void
truth_write(const Model *model, uint64_t rows, uint64_t extra, size_t queries)
{
	float *query = make_queries(model, queries);
	Nearest *nearest = compare_all(model, rows, extra, query, queries);
	BenchHeader header = {BENCH_MAGIC, (uint32_t) queries, (uint32_t) model->d, BENCH_SETS};

	fwrite(&header, sizeof(header), 1, stdout);
	fwrite(query, sizeof(float) * (size_t) model->d, queries, stdout);
	for (size_t i = 0; i < BENCH_SETS * queries; i++)
	{
		for (int k = nearest[i].count; k < BENCH_NEAREST; k++)
			nearest[i].id[k] = -1;
		fwrite(nearest[i].id, sizeof(nearest[i].id), 1, stdout);
	}
	if (fflush(stdout) != 0)
		fail("cannot write");
}

static void
dimension_print(const Model *model, uint64_t rows, size_t queries)
{
	float *query = make_queries(model, queries);
	Nearest *nearest = compare_all(model, rows, 0, query, queries);
	double inverse = 0;
	double contrast = 0;

	for (size_t q = 0; q < queries; q++)
	{
		const Nearest *here = &nearest[q];
		double sum = 0;
		double farthest;

		if (here->count < BENCH_NEAREST)
			fail("too few rows");
		farthest = 2 - 2.0 * here->product[BENCH_NEAREST - 1];
		for (int k = 0; k < BENCH_NEAREST - 1; k++)
			sum += 0.5 * log(farthest / fmax(2 - 2.0 * here->product[k], 1e-12));
		inverse += sum / (BENCH_NEAREST - 2) / (double) queries;
		contrast += sqrt(fmax(2 - 2.0 * here->product[9], 0)) / (double) queries;
	}
	printf("%s, %d dimensions, %llu rows: local intrinsic dimension %.1f, distance of the 10th "
		   "neighbour %.3f\n",
		   model->kind->name, model->d, (unsigned long long) rows, 1 / inverse, contrast);
}

int
main(int argc, char **argv)
{
	static Model model;
	unsigned long long number[4] = {0};

	if (argc < 5 || argc > 7)
		fail("rows KIND DIMS FIRST COUNT | truth KIND DIMS ROWS EXTRA QUERIES | "
			 "dimension KIND DIMS ROWS QUERIES");
	for (int i = 3; i < argc; i++)
	{
		char *end;

		number[i - 3] = strtoull(argv[i], &end, 10);
		if (*argv[i] == '\0' || *end != '\0' || number[i - 3] > INT32_MAX)
			fail("not a number, or too large");
	}
	if (number[0] < 1 || number[0] > 16000)
		fail("dimensions are 1 to 16000");
	model_make(&model, argv[2], (int) number[0]);
	if (strcmp(argv[1], "rows") == 0 && argc == 6)
		rows_write(&model, number[1], number[2]);
	else if (strcmp(argv[1], "truth") == 0 && argc == 7)
		truth_write(&model, number[1], number[2], (size_t) number[3]);
	else if (strcmp(argv[1], "dimension") == 0 && argc == 6)
		dimension_print(&model, number[1], (size_t) number[2]);
	else
		fail("the mode is rows, truth or dimension");
	return 0;
}
