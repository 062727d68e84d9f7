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
 * KIND is one of
 *
 *	clustered	local intrinsic dimension about 9 (1,000,000 x 128, 200,000 x 768)
 *	hard		about 21
 *	file:PATH	vectors of a model: rows in PATH.rows and queries in PATH.queries,
 *				binary COPY of one column of type embedding or vector
 *
 * The first two are made like this.  A point of a space of few dimensions is
 * mapped to the vector by a random network of one hidden layer, so that all
 * points lie on one curved surface, plus a little noise in all dimensions.
 * Points are drawn from topics, normal distributions of different width and
 * shape whose sizes follow a power law.  Every topic is a part of a wider one,
 * beside whose centre its own lies, and a third of the points lie between the
 * two: topics overlap and hang together, as those of real embeddings do.
 * Independent clusters without anything between them, which take fewer lines,
 * would punish indexes that are graphs: a search that was led into the wrong
 * cluster never leaves it.
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

#define TOPICS_MOST 1000
#define LATENT_MOST 64
#define HIDDEN_MOST 512
#define FIRST_QUERY (1ULL << 40)
#define TILE 2048

typedef struct Kind
{
	const char *name;
	int topics; /* TOPICS_MOST at most */
	int latent; /* dimensions of the space in which topics lie; LATENT_MOST at most */
	float law; /* axis k of a topic has the weight (k + 1)^-law */
	float step; /* from a topic to a narrower one, the widest having radius one */
	float width; /* of a topic, in all axes together */
	float spread; /* of the logarithm of the width */
	float curvature; /* of the surface: 0 for a plane */
	float noise; /* length beside that of the vector, in all dimensions together */
} Kind;

static const Kind kinds[] = {
	{"clustered", 400, 16, 0.5f, 1.0f, 0.5f, 0.4f, 1.0f, 0.02f},
	{"hard", 200, 48, 0.2f, 0.9f, 0.9f, 0.25f, 1.0f, 0.1f},
};

typedef struct Topic
{
	int wider; /* the topic that this one is a part of */
	float width;
	float centre[LATENT_MOST];
	int axis[LATENT_MOST]; /* a permutation */
} Topic;

typedef struct Model
{
	const Kind *kind; /* NULL: read from files */
	const char *name;
	int d;
	float *read[2]; /* rows, queries */
	uint64_t count[2];
	int hidden;
	float *into; /* [latent, hidden] */
	float *offset; /* [hidden] */
	float *out; /* [hidden, d] */
	Topic topic[TOPICS_MOST];
	double cumulated[TOPICS_MOST]; /* of the sizes */
	float weight[LATENT_MOST]; /* squares add up to one */
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

static float *
normals(DsRandom *random, size_t count, double deviation)
{
	float *x = allocate(count, sizeof(float));

	for (size_t i = 0; i < count; i++)
		x[i] = (float) (deviation * ds_random_normal(random));
	return x;
}

/* Vectors of a file in binary COPY format, one column; divided by their lengths */
static float *
file_read(const char *stem, const char *end, int d, uint64_t *count)
{
	char path[1024];
	char head[19];
	float *x = NULL;
	FILE *file;
	size_t room = 0;
	size_t n = 0;

	if ((size_t) snprintf(path, sizeof(path), "%s.%s", stem, end) >= sizeof(path))
		fail("the path is too long");
	file = fopen(path, "rb");
	if (file == NULL || fread(head, sizeof(head), 1, file) != 1 ||
		memcmp(head, "PGCOPY\n\377\r\n", 11) != 0)
		fail("the files of this kind cannot be read");
	for (;; n++)
	{
		uint16_t fields;
		uint32_t size;
		uint16_t dim[2];

		if (fread(&fields, sizeof(fields), 1, file) != 1)
			fail("a file of vectors is cut short");
		if (fields == 0xFFFF)
			break;
		if (fields != htons(1) || fread(&size, sizeof(size), 1, file) != 1 ||
			ntohl(size) != 4 + 4 * (uint32_t) d || fread(dim, sizeof(dim), 1, file) != 1)
			fail("one column of vectors of this dimension is wanted");
		if (n == room)
		{
			room = room * 2 + 1024;
			x = realloc(x, room * (size_t) d * sizeof(float));
			if (x == NULL)
				fail("out of memory");
		}
		if (fread(x + n * (size_t) d, sizeof(float), (size_t) d, file) != (size_t) d)
			fail("a file of vectors is cut short");
		for (size_t i = n * (size_t) d; i < (n + 1) * (size_t) d; i++)
		{
			uint32_t bits;

			memcpy(&bits, &x[i], sizeof(bits));
			bits = ntohl(bits);
			memcpy(&x[i], &bits, sizeof(bits));
		}
		normalise(x + n * (size_t) d, d);
	}
	fclose(file);
	*count = n;
	return x;
}

static void
model_make(Model *model, const char *name, int d)
{
	const Kind *kind = NULL;
	DsRandom random;
	double total = 0;
	double squares = 0;

	model->name = name;
	model->d = d;
	if (strncmp(name, "file:", 5) == 0)
	{
		model->read[0] = file_read(name + 5, "rows", d, &model->count[0]);
		model->read[1] = file_read(name + 5, "queries", d, &model->count[1]);
		return;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			kind = &kinds[i];
	if (kind == NULL)
		fail("the kind is clustered, hard or file:PATH");
	model->kind = kind;
	model->hidden = d < 64 ? 64 : d > HIDDEN_MOST ? HIDDEN_MOST : d;
	ds_random_init(&random, (uint64_t) d, (uint64_t) (kind - kinds));
	model->into = normals(&random, (size_t) kind->latent * model->hidden, 1);
	model->offset = normals(&random, (size_t) model->hidden, 1);
	model->out = normals(&random, (size_t) model->hidden * d, 1 / sqrt(d));

	for (int k = 0; k < kind->latent; k++)
	{
		model->weight[k] = powf((float) (k + 1), -kind->law);
		squares += (double) model->weight[k] * model->weight[k];
	}
	for (int k = 0; k < kind->latent; k++)
		model->weight[k] /= (float) sqrt(squares);

	for (int t = 0; t < kind->topics; t++)
	{
		Topic *topic = &model->topic[t];
		uint32_t order[LATENT_MOST];

		topic->wider = t == 0 ? 0 : (int) ds_random_below(&random, (uint64_t) t);
		topic->width = kind->width * (float) exp(kind->spread * ds_random_normal(&random));
		ds_random_permutation(&random, order, (size_t) kind->latent);
		for (int k = 0; k < kind->latent; k++)
		{
			topic->axis[k] = (int) order[k];
			topic->centre[k] =
				t == 0 ? 0
					   : 0.8f * model->topic[topic->wider].centre[k] +
							 (float) (kind->step * ds_random_normal(&random) / sqrt(kind->latent));
		}
		total += pow(t + 20, -0.7);
		model->cumulated[t] = total;
	}
	for (int t = 0; t < kind->topics; t++)
		model->cumulated[t] /= total;
}

static void
model_row(const Model *model, uint64_t number, float *restrict x)
{
	const Kind *kind = model->kind;
	int d = model->d;
	int hidden = model->hidden;
	const Topic *topic;
	const Topic *wider;
	float h[HIDDEN_MOST];
	float noise;
	float towards;
	double square = 0;
	DsRandom random;
	double at;
	int low = 0;
	int high;

	if (kind == NULL)
	{
		int which = number >= FIRST_QUERY;

		number -= which ? FIRST_QUERY : 0;
		if (number >= model->count[which])
			fail("the file has fewer vectors");
		memcpy(x, model->read[which] + number * (uint64_t) d, sizeof(float) * (size_t) d);
		return;
	}
	ds_random_init(&random, 0x726f77, number);
	at = ds_random_double(&random);
	high = kind->topics - 1;
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (model->cumulated[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	topic = &model->topic[low];
	wider = &model->topic[topic->wider];

	/* a third of the rows lie between a topic and the wider one */
	towards = (float) (1.5 * ds_random_double(&random) - 1);
	if (towards < 0)
		towards = 0;
	memcpy(h, model->offset, sizeof(float) * (size_t) hidden);
	for (int k = 0; k < kind->latent; k++)
	{
		int axis = topic->axis[k];
		const float *restrict into = model->into + (size_t) axis * hidden;
		float z = topic->width * model->weight[k] * (float) ds_random_normal(&random) +
				  (1 - towards) * topic->centre[axis] + towards * wider->centre[axis];

		for (int j = 0; j < hidden; j++)
			h[j] += z * into[j];
	}
	for (int j = 0; j < hidden; j++)
		h[j] /= 1 + kind->curvature * fabsf(h[j]);
	memset(x, 0, sizeof(float) * (size_t) d);
	for (int i = 0; i < hidden; i++)
	{
		const float *restrict out = model->out + (size_t) i * d;
		float from = h[i];

		for (int j = 0; j < d; j++)
			x[j] += from * out[j];
	}

	/* uniform instead of normal: nobody can tell, and it takes a fifth of the time */
	for (int j = 0; j < d; j++)
		square += (double) x[j] * x[j];
	noise = kind->noise * (float) sqrt(square / d);
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
	for (size_t i = 0; i < BENCH_SETS * queries; i++)
		fwrite(nearest[i].product, sizeof(nearest[i].product), 1, stdout);
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
		   model->name, model->d, (unsigned long long) rows, 1 / inverse, contrast);
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
