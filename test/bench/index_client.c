/*
 * index_client.c
 *		The client of the index benchmark: prepared statements with binary
 *		parameters over libpq, the same for every contender.
 *
 *	index_client search FILE SET K SECONDS CLIENTS QUERY [STATS]
 *		QUERY has $1, the vector, and gives row ids (int4).  Every query of FILE
 *		once, which warms caches and tells the recall over the first K of SET;
 *		then CLIENTS processes, each with its own connection, repeat them for
 *		SECONDS; before and after, a prepared SELECT 1 tells the floor.  Prints
 *		recall, rows (mean), floor ms (median), mean ms, median ms, p99 ms, queries/s of
 *		all clients; and, if STATS is given, a statement that after a query tells
 *		an int8 about it (heap rows fetched, say): its median and p99, else - -.
 *	index_client first FILE QUERY
 *		ms of connecting, ms of the first query, ms of the second one
 *	index_client insert FILE QUERY
 *		Rows of a file in binary COPY format as parameters $1, $2, ... of QUERY,
 *		each a transaction.  Prints rows, rows/s, median ms, p99 ms.
 *
 * A connection begins with the statements in the environment's BENCH_SET.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "index_bench.h"

#define MOST_SAMPLES 4000000
#define MOST_FIELDS 8

typedef struct Queries
{
	BenchHeader header;
	float *vector;
	int32_t *nearest; /* [sets, queries, BENCH_NEAREST] */
	char *binary; /* [queries, size], as the server takes them */
	int size;
} Queries;

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "index_client: %s: %s\n", what, why);
	exit(2);
}

static void *
allocate(size_t count, size_t size)
{
	void *result = calloc(count > 0 ? count : 1, size);

	if (result == NULL)
		fail("memory", "no more");
	return result;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

/* sorts */
static double
quantile(double *values, size_t count, double part)
{
	size_t at = (size_t) (part * (double) (count - 1) + 0.5);

	qsort(values, count, sizeof(double), compare);
	return values[at];
}

static double
mean(const double *values, size_t count)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += values[i];
	return sum / (double) count;
}

static void
read_queries(const char *path, Queries *queries)
{
	FILE *file = fopen(path, "rb");
	BenchHeader *header = &queries->header;
	size_t vectors;
	size_t ids;

	if (file == NULL)
		fail(path, "cannot open");
	if (fread(header, sizeof(*header), 1, file) != 1 || header->magic != BENCH_MAGIC ||
		header->sets != BENCH_SETS || header->queries == 0)
		fail(path, "not a file of queries");
	vectors = (size_t) header->queries * header->dimensions;
	ids = (size_t) header->sets * header->queries * BENCH_NEAREST;
	queries->vector = allocate(vectors, sizeof(float));
	queries->nearest = allocate(ids, sizeof(int32_t));
	if (fread(queries->vector, sizeof(float), vectors, file) != vectors ||
		fread(queries->nearest, sizeof(int32_t), ids, file) != ids)
		fail(path, "cut short");
	fclose(file);

	queries->size = (int) (4 + 4 * header->dimensions);
	queries->binary = allocate(header->queries, (size_t) queries->size);
	for (uint32_t q = 0; q < header->queries; q++)
	{
		char *to = queries->binary + (size_t) q * queries->size;
		uint16_t dim = htons((uint16_t) header->dimensions);

		memcpy(to, &dim, sizeof(dim));
		for (uint32_t i = 0; i < header->dimensions; i++)
		{
			uint32_t bits;

			memcpy(&bits, &queries->vector[(size_t) q * header->dimensions + i], sizeof(bits));
			bits = htonl(bits);
			memcpy(to + 4 + 4 * i, &bits, sizeof(bits));
		}
	}
}

/* ---- the server ---- */

static PGresult *
check(PGconn *connection, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		fail("the server", PQerrorMessage(connection));
	return result;
}

static PGconn *
open_connection(void)
{
	PGconn *connection = PQconnectdb("");
	const char *set = getenv("BENCH_SET");

	if (PQstatus(connection) != CONNECTION_OK)
		fail("connection", PQerrorMessage(connection));
	if (set != NULL && *set != '\0')
		PQclear(check(connection, PQexec(connection, set)));
	return connection;
}

static void
prepare(PGconn *connection, const char *name, const char *query)
{
	PQclear(check(connection, PQprepare(connection, name, query, 0, NULL)));
}

static PGresult *
search(PGconn *connection, const Queries *queries, uint32_t q)
{
	const char *value = queries->binary + (size_t) q * queries->size;
	int format = 1;

	return check(connection,
				 PQexecPrepared(connection, "search", 1, &value, &queries->size, &format, 1));
}

static int32_t
get32(const char *from)
{
	uint32_t bits;

	memcpy(&bits, from, sizeof(bits));
	return (int32_t) ntohl(bits);
}

/* median ms of a prepared SELECT 1 */
static double
measure_floor(PGconn *connection)
{
	enum
	{
		RUNS = 4000
	};
	static double sample[RUNS];

	for (int i = -200; i < RUNS; i++)
	{
		double started = now();

		PQclear(check(connection, PQexecPrepared(connection, "floor", 0, NULL, NULL, NULL, 1)));
		sample[i < 0 ? 0 : i] = now() - started;
	}
	return quantile(sample, RUNS, 0.5);
}

/* Repeat the queries for so long; how many samples (ms) there are now. */
static size_t
repeat(PGconn *connection, const Queries *queries, double seconds, uint32_t first, double *sample)
{
	double end = now() + seconds * 1e3;
	size_t samples = 0;

	for (;;)
	{
		uint32_t q = (uint32_t) ((samples + first) % queries->header.queries);
		double started = now();

		PQclear(search(connection, queries, q));
		if (samples < MOST_SAMPLES)
			sample[samples++] = now() - started;
		if (now() >= end)
			break;
	}
	return samples;
}

/* Queries a second of all clients */
static double
many_clients(const Queries *queries, const char *query, double seconds, int clients, double *sample)
{
	int channel[2];
	double total = 0;
	double rate;

	if (pipe(channel) != 0)
		fail("pipe", "cannot make");
	for (int c = 0; c < clients; c++)
	{
		pid_t child = fork();

		if (child < 0)
			fail("fork", "cannot");
		if (child == 0)
		{
			PGconn *connection = open_connection();
			double started;
			size_t samples;

			prepare(connection, "search", query);
			(void) repeat(connection, queries, 0.3, (uint32_t) (c * 7919), sample);
			started = now();
			samples = repeat(connection, queries, seconds, (uint32_t) (c * 7919), sample);
			rate = (double) samples / (now() - started) * 1e3;
			if (write(channel[1], &rate, sizeof(rate)) != sizeof(rate))
				_exit(1);
			PQfinish(connection);
			_exit(0);
		}
	}
	close(channel[1]);
	for (int c = 0; c < clients; c++)
	{
		int status;

		if (wait(&status) < 0 || status != 0)
			fail("client", "failed");
		if (read(channel[0], &rate, sizeof(rate)) != sizeof(rate))
			fail("client", "no answer");
		total += rate;
	}
	close(channel[0]);
	return total;
}

static void
run_search(const char *path, int set, int k, double seconds, int clients, const char *query,
		   const char *stats)
{
	Queries queries;
	PGconn *connection;
	double *sample = allocate(MOST_SAMPLES, sizeof(double));
	double *told;
	size_t samples;
	double found = 0;
	double wanted = 0;
	double rows = 0;
	double floor;
	double rate;

	if (k < 1 || k > BENCH_NEAREST || set < 0 || set >= BENCH_SETS)
		fail("search", "K is 1 to 100, and SET one of index_bench.h");
	read_queries(path, &queries);
	told = allocate(queries.header.queries, sizeof(double));
	connection = open_connection();
	prepare(connection, "search", query);
	prepare(connection, "floor", "SELECT 1");
	if (stats != NULL)
		prepare(connection, "stats", stats);
	for (uint32_t q = 0; q < queries.header.queries; q++)
	{
		const int32_t *nearest =
			queries.nearest + ((size_t) set * queries.header.queries + q) * BENCH_NEAREST;
		PGresult *result = search(connection, &queries, q);
		int n = PQntuples(result);

		rows += n;
		for (int i = 0; i < k && nearest[i] >= 0; i++)
		{
			wanted++;
			for (int j = 0; j < n && j < k; j++)
				if (get32(PQgetvalue(result, j, 0)) == nearest[i])
				{
					found++;
					break;
				}
		}
		PQclear(result);
		if (stats != NULL)
		{
			result = check(connection, PQexecPrepared(connection, "stats", 0, NULL, NULL, NULL, 0));
			told[q] = atof(PQgetvalue(result, 0, 0));
			PQclear(result);
		}
	}

	floor = measure_floor(connection);
	samples = repeat(connection, &queries, seconds, 0, sample);
	floor = (floor + measure_floor(connection)) / 2;
	PQfinish(connection);
	rate = 1e3 / mean(sample, samples);
	printf("%.4f %.1f %.4f %.4f %.4f %.4f", found / wanted, rows / queries.header.queries, floor,
		   mean(sample, samples), quantile(sample, samples, 0.5), quantile(sample, samples, 0.99));
	fflush(stdout);
	if (clients > 1)
		rate = many_clients(&queries, query, seconds, clients, sample);
	printf(" %.1f", rate);
	if (stats != NULL)
		printf(" %.0f %.0f\n", quantile(told, queries.header.queries, 0.5),
			   quantile(told, queries.header.queries, 0.99));
	else
		printf(" - -\n");
}

static void
run_first(const char *path, const char *query)
{
	Queries queries;
	PGconn *connection;
	double started;
	double connected;
	double first;
	double second;

	read_queries(path, &queries);
	started = now();
	connection = open_connection();
	connected = now() - started;
	started = now();
	prepare(connection, "search", query);
	PQclear(search(connection, &queries, 0));
	first = now() - started;
	started = now();
	PQclear(search(connection, &queries, queries.header.queries > 1));
	second = now() - started;
	PQfinish(connection);
	printf("%.2f %.2f %.2f\n", connected, first, second);
}

static void
run_insert(const char *path, const char *query)
{
	FILE *file = fopen(path, "rb");
	PGconn *connection = open_connection();
	double *sample = allocate(MOST_SAMPLES, sizeof(double));
	size_t samples = 0;
	char header[19];
	char *buffer = allocate(MOST_FIELDS, 65536);
	uint16_t fields;
	double started;

	if (file == NULL)
		fail(path, "cannot open");
	if (fread(header, sizeof(header), 1, file) != 1 || memcmp(header, "PGCOPY\n\377\r\n", 11) != 0)
		fail(path, "not in binary COPY format");
	prepare(connection, "insert", query);
	started = now();
	while (fread(&fields, sizeof(fields), 1, file) == 1 && fields != 0xFFFF &&
		   samples < MOST_SAMPLES)
	{
		const char *value[MOST_FIELDS];
		int length[MOST_FIELDS];
		int format[MOST_FIELDS];
		double begin;

		fields = ntohs(fields);
		if (fields > MOST_FIELDS)
			fail(path, "too many columns");
		for (int i = 0; i < fields; i++)
		{
			char size[4];

			value[i] = buffer + (size_t) i * 65536;
			format[i] = 1;
			if (fread(size, sizeof(size), 1, file) != 1)
				fail(path, "cut short");
			length[i] = get32(size);
			if (length[i] < 0 || length[i] > 65536)
				fail(path, "a field of this size");
			if (fread(buffer + (size_t) i * 65536, 1, (size_t) length[i], file) !=
				(size_t) length[i])
				fail(path, "cut short");
		}
		begin = now();
		PQclear(check(connection,
					  PQexecPrepared(connection, "insert", fields, value, length, format, 1)));
		sample[samples++] = now() - begin;
	}
	if (samples == 0)
		fail(path, "no rows");
	printf("%zu %.1f", samples, (double) samples / (now() - started) * 1e3);
	printf(" %.4f %.4f\n", quantile(sample, samples, 0.5), quantile(sample, samples, 0.99));
	PQfinish(connection);
	fclose(file);
}

int
main(int argc, char **argv)
{
	if (argc >= 8 && argc <= 9 && strcmp(argv[1], "search") == 0)
		run_search(argv[2], atoi(argv[3]), atoi(argv[4]), atof(argv[5]), atoi(argv[6]), argv[7],
				   argc == 9 ? argv[8] : NULL);
	else if (argc == 4 && strcmp(argv[1], "first") == 0)
		run_first(argv[2], argv[3]);
	else if (argc == 4 && strcmp(argv[1], "insert") == 0)
		run_insert(argv[2], argv[3]);
	else
		fail("usage", "search FILE SET K SECONDS CLIENTS QUERY [STATS] | first FILE QUERY | "
					  "insert FILE QUERY");
	return 0;
}
