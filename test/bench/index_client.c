/*
 * index_client.c
 *		The client of the index benchmark: prepared statements with binary
 *		parameters over libpq, the same for every contender.
 *
 *	index_client recall FILE SET K QUERY [STATS]
 *		QUERY has $1, the vector, and gives row ids (int4).  Every query of FILE
 *		once.  Prints the recall over the first K of SET, rows (mean), and, if
 *		STATS is given, a statement that after a query tells an int8 about it
 *		(heap rows fetched, say): its median and p99, else - -.
 *	index_client time FILE SECONDS CLIENTS FIRST QUERY
 *		Repeats the queries, from number FIRST on, for SECONDS with one connection,
 *		after a warm-up; before and after, a prepared SELECT 1 tells the floor.
 *		With CLIENTS above 1, that many processes, each with its own connection,
 *		do the same instead.  Prints ms: floor (median), mean, median, p99;
 *		queries/s; and ms of the backend's processor for a query and for the
 *		floor.  With many clients the rates are added up, the times' means given.
 *		A single client shares the last processor with its backend: only one of
 *		the two runs at a time, and to wake the other one on an idle processor may
 *		take longer than an easy query, the more so the longer that one has slept,
 *		so that what is above the floor would not be the query alone.
 *	index_client first FILE QUERY
 *		ms of connecting, ms of the first query, ms of the second one
 *	index_client insert FILE QUERY
 *		Rows of a file in binary COPY format as parameters $1, $2, ... of QUERY,
 *		each a transaction.  Prints rows, rows/s, median ms, p99 ms, and ms of the
 *		backend's processor for one.
 *
 * A connection begins with the statements in the environment's BENCH_SET; of
 * the queries of FILE only the first BENCH_QUERIES are used, if that is set.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdbool.h>
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
	float *product; /* theirs with the query */
	char *binary; /* [queries, size], as the server takes them */
	int size;
	size_t stride; /* from set to set */
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
	const char *most = getenv("BENCH_QUERIES");
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
	queries->product = allocate(ids, sizeof(float));
	if (fread(queries->vector, sizeof(float), vectors, file) != vectors ||
		fread(queries->nearest, sizeof(int32_t), ids, file) != ids ||
		fread(queries->product, sizeof(float), ids, file) != ids)
		fail(path, "cut short");
	fclose(file);
	queries->stride = (size_t) header->queries * BENCH_NEAREST;
	if (most != NULL && atoi(most) > 0 && (uint32_t) atoi(most) < header->queries)
		header->queries = (uint32_t) atoi(most);

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

/* ms that the backend has spent on a processor; 0 where the system does not tell */
static double
processor(PGconn *connection)
{
	char path[64];
	FILE *file;
	double ns = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", PQbackendPID(connection));
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%lf", &ns) != 1)
		ns = 0;
	fclose(file);
	return ns / 1e6;
}

/* A prepared SELECT 1: its median ms, and ms of the processor */
static void
measure_floor(PGconn *connection, double *median, double *used)
{
	enum
	{
		RUNS = 1000
	};
	static double sample[RUNS];
	double before = 0;

	for (int i = -100; i < RUNS; i++)
	{
		double started;

		if (i == 0)
			before = processor(connection);
		started = now();
		PQclear(check(connection, PQexecPrepared(connection, "floor", 0, NULL, NULL, NULL, 1)));
		sample[i < 0 ? 0 : i] = now() - started;
	}
	*used = (processor(connection) - before) / RUNS;
	*median = quantile(sample, RUNS, 0.5);
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

static void
run_recall(const char *path, int set, int k, const char *query, const char *stats)
{
	Queries queries;
	PGconn *connection;
	double *told;
	double found = 0;
	double wanted = 0;
	double rows = 0;

	if (k < 1 || k > BENCH_NEAREST || set < 0 || set >= BENCH_SETS)
		fail("recall", "K is 1 to 100, and SET one of index_bench.h");
	read_queries(path, &queries);
	told = allocate(queries.header.queries, sizeof(double));
	connection = open_connection();
	prepare(connection, "search", query);
	if (stats != NULL)
		prepare(connection, "stats", stats);
	for (uint32_t q = 0; q < queries.header.queries; q++)
	{
		size_t at = (size_t) set * queries.stride + (size_t) q * BENCH_NEAREST;
		const int32_t *nearest = queries.nearest + at;
		const float *product = queries.product + at;
		PGresult *result = search(connection, &queries, q);
		int n = PQntuples(result);
		int possible = 0;
		int right = 0;

		rows += n;
		while (possible < k && nearest[possible] >= 0)
			possible++;
		for (int j = 0; j < n && j < k; j++)
			for (int i = 0; i < BENCH_NEAREST && nearest[i] >= 0 &&
							(i < k || product[i] > product[k - 1] - 1e-6f);
				 i++)
				if (get32(PQgetvalue(result, j, 0)) == nearest[i])
				{
					right++;
					break;
				}
		found += right < possible ? right : possible;
		wanted += possible;
		PQclear(result);
		if (stats != NULL)
		{
			result = check(connection, PQexecPrepared(connection, "stats", 0, NULL, NULL, NULL, 0));
			told[q] = atof(PQgetvalue(result, 0, 0));
			PQclear(result);
		}
	}
	PQfinish(connection);
	printf("%.4f %.2f", found / wanted, rows / queries.header.queries);
	if (stats != NULL)
		printf(" %.0f %.0f\n", quantile(told, queries.header.queries, 0.5),
			   quantile(told, queries.header.queries, 0.99));
	else
		printf(" - -\n");
}

typedef struct Timing
{
	double floor;
	double mean;
	double median;
	double p99;
	double rate;
	double used;
	double used_floor;
} Timing;

/* This process and its backend take turns on one processor. */
static void
share_processor(PGconn *connection)
{
	cpu_set_t set;
	int last = -1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &set))
				last = i;
	if (last < 0)
		fail("processors", "cannot tell which there are");
	CPU_ZERO(&set);
	CPU_SET(last, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0 ||
		sched_setaffinity(PQbackendPID(connection), sizeof(set), &set) != 0)
		fail("processors",
			 "cannot choose one (the server must be of the same user, or this one root)");
}

/* One connection: a warm-up, which also loads what the server keeps for a connection, then SECONDS */
static Timing
time_one(const Queries *queries, const char *query, double seconds, bool alone, uint32_t first,
		 double *sample)
{
	PGconn *connection = open_connection();
	Timing timing;
	double floor;
	double used;
	size_t samples;

	if (alone)
		share_processor(connection);
	prepare(connection, "search", query);
	prepare(connection, "floor", "SELECT 1");
	(void) repeat(connection, queries, seconds > 1 ? 0.3 : 0.2, first + 13, sample);
	measure_floor(connection, &floor, &used);
	timing.used = processor(connection);
	timing.rate = now();
	samples = repeat(connection, queries, seconds, first, sample);
	timing.rate = (double) samples * 1e3 / (now() - timing.rate);
	timing.used = (processor(connection) - timing.used) / (double) samples;
	measure_floor(connection, &timing.floor, &timing.used_floor);
	PQfinish(connection);
	timing.floor = (timing.floor + floor) / 2;
	timing.used_floor = (timing.used_floor + used) / 2;
	timing.mean = mean(sample, samples);
	timing.median = quantile(sample, samples, 0.5);
	timing.p99 = quantile(sample, samples, 0.99);
	return timing;
}

/* All clients at once: the rates added up, the times' means */
static Timing
time_many(const Queries *queries, const char *query, double seconds, int clients, uint32_t first,
		  double *sample)
{
	int channel[2];
	Timing all = {0};
	Timing one;

	if (pipe(channel) != 0)
		fail("pipe", "cannot make");
	for (int c = 0; c < clients; c++)
	{
		pid_t child = fork();

		if (child < 0)
			fail("fork", "cannot");
		if (child == 0)
		{
			one = time_one(queries, query, seconds, false, first + (uint32_t) c * 7919, sample);
			_exit(write(channel[1], &one, sizeof(one)) != sizeof(one));
		}
	}
	close(channel[1]);
	for (int c = 0; c < clients; c++)
	{
		int status;

		if (wait(&status) < 0 || status != 0)
			fail("client", "failed");
		if (read(channel[0], &one, sizeof(one)) != sizeof(one))
			fail("client", "no answer");
		all.floor += one.floor / clients;
		all.mean += one.mean / clients;
		all.median += one.median / clients;
		all.p99 += one.p99 / clients;
		all.rate += one.rate;
		all.used += one.used / clients;
		all.used_floor += one.used_floor / clients;
	}
	close(channel[0]);
	return all;
}

static void
run_time(const char *path, double seconds, int clients, int first, const char *query)
{
	Queries queries;
	double *sample = allocate(MOST_SAMPLES, sizeof(double));
	Timing t;

	if (first < 0)
		fail("time", "FIRST is a number of a query");
	read_queries(path, &queries);
	if (clients > 1)
		t = time_many(&queries, query, seconds, clients, (uint32_t) first, sample);
	else
		t = time_one(&queries, query, seconds, true, (uint32_t) first, sample);
	printf("%.4f %.4f %.4f %.4f %.1f %.4f %.4f\n", t.floor, t.mean, t.median, t.p99, t.rate, t.used,
		   t.used_floor);
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
	double used;

	if (file == NULL)
		fail(path, "cannot open");
	if (fread(header, sizeof(header), 1, file) != 1 || memcmp(header, "PGCOPY\n\377\r\n", 11) != 0)
		fail(path, "not in binary COPY format");
	prepare(connection, "insert", query);
	used = processor(connection);
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
	used = (processor(connection) - used) / (double) samples;
	printf(" %.4f %.4f %.4f\n", quantile(sample, samples, 0.5), quantile(sample, samples, 0.99),
		   used);
	PQfinish(connection);
	fclose(file);
}

int
main(int argc, char **argv)
{
	if (argc >= 6 && argc <= 7 && strcmp(argv[1], "recall") == 0)
		run_recall(argv[2], atoi(argv[3]), atoi(argv[4]), argv[5], argc == 7 ? argv[6] : NULL);
	else if (argc == 7 && strcmp(argv[1], "time") == 0)
		run_time(argv[2], atof(argv[3]), atoi(argv[4]), atoi(argv[5]), argv[6]);
	else if (argc == 4 && strcmp(argv[1], "first") == 0)
		run_first(argv[2], argv[3]);
	else if (argc == 4 && strcmp(argv[1], "insert") == 0)
		run_insert(argv[2], argv[3]);
	else
		fail("usage", "recall FILE SET K QUERY [STATS] | time FILE SECONDS CLIENTS FIRST QUERY | "
					  "first FILE QUERY | insert FILE QUERY");
	return 0;
}
