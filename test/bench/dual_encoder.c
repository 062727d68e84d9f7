/*
 * dual_encoder.c
 *		The dual encoder alone, without a server: quality and speed.
 *
 *     build/bench/dual_encoder [DIR [name=value ...]]
 *
 * DIR (../shared/data/fashion unless given) has the files of the fashion data set: products.tsv.gz,
 * pairs.train.tsv.gz and queries.dev.tsv.  Learns a tokenizer, trains on the
 * pairs, encodes the products, and asks the queries, of which a product is
 * relevant when it has every attribute that the query names.  Prints P@10 of
 * the Chinese and the English queries, and where the time went.  Settings
 * that are not named have the library's defaults; title=1 leaves the
 * structured fields out of the document's text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/blas.h"
#include "base/cpu.h"
#include "base/random.h"
#include "fashion_files.h"
#include "nn/training.h"
#include "text/tokenizer.h"

#define ATTRIBUTES 5 /* gender, article_type, colour, season, usage */
#define TOP 10

typedef struct Texts
{
	size_t count;
	size_t room;
	char **text;
	uint64_t *key;
	size_t *offsets;
	uint32_t *ids;
	size_t ids_room;
} Texts;

typedef struct Settings
{
	DsTokenizerConfig tokenizer;
	DsDualEncoderConfig encoder;
	DsTrainConfig train;
	size_t batch;
	size_t epochs;
	size_t pairs; /* of the file, at most */
	int title;
	int verbose;
} Settings;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* of this process: what other processes do does not count */
static double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static size_t
add_text(Texts *texts, const char *text)
{
	if (texts->count == texts->room)
	{
		texts->room = texts->room * 2 + 1000;
		texts->text = checked(realloc(texts->text, texts->room * sizeof(char *)));
		texts->key = checked(realloc(texts->key, texts->room * sizeof(uint64_t)));
		texts->offsets = checked(realloc(texts->offsets, (texts->room + 1) * sizeof(size_t)));
	}
	texts->text[texts->count] = checked(strdup(text));
	texts->key[texts->count] = hash(text);
	return texts->count++;
}

static void
encode_texts(Texts *texts, const DsTokenizer *tokenizer, DsTokenScratch *scratch)
{
	size_t used = 0;

	texts->offsets[0] = 0;
	for (size_t t = 0; t < texts->count; t++)
	{
		size_t n = ds_tokenizer_encode(tokenizer, scratch, texts->text[t], strlen(texts->text[t]));

		if (used + n > texts->ids_room)
		{
			texts->ids_room = (used + n) * 2;
			texts->ids = checked(realloc(texts->ids, texts->ids_room * sizeof(uint32_t)));
		}
		if (n > 0)
			memcpy(texts->ids + used, scratch->ids, n * sizeof(uint32_t));
		used += n;
		texts->offsets[t + 1] = used;
	}
}

/* Append text t's ids to a batch's ragged array */
static void
gather(const Texts *texts, size_t t, uint32_t *ids, size_t *offsets, uint64_t *keys, size_t i)
{
	size_t n = texts->offsets[t + 1] - texts->offsets[t];

	memcpy(ids + offsets[i], texts->ids + texts->offsets[t], n * sizeof(uint32_t));
	offsets[i + 1] = offsets[i] + n;
	keys[i] = texts->key[t];
}

static size_t
longest(const Texts *texts)
{
	size_t most = 0;

	for (size_t t = 0; t < texts->count; t++)
		if (texts->offsets[t + 1] - texts->offsets[t] > most)
			most = texts->offsets[t + 1] - texts->offsets[t];
	return most;
}

static void
set(Settings *s, const char *name, const char *value)
{
	double x = atof(value);
	uint32_t n = (uint32_t) x;
	struct
	{
		const char *name;
		uint32_t *number;
		double *real;
		bool *flag;
	} known[] = {
		{"vocabulary", &s->tokenizer.vocabulary, NULL, NULL},
		{"buckets", &s->tokenizer.buckets, NULL, NULL},
		{"min_count", &s->tokenizer.min_count, NULL, NULL},
		{"words", NULL, NULL, &s->tokenizer.words},
		{"word_min", &s->tokenizer.word_min, NULL, NULL},
		{"word_max", &s->tokenizer.word_max, NULL, NULL},
		{"cjk_min", &s->tokenizer.cjk_min, NULL, NULL},
		{"cjk_max", &s->tokenizer.cjk_max, NULL, NULL},
		{"shared", NULL, NULL, &s->encoder.shared},
		{"symmetric", NULL, NULL, &s->train.symmetric},
		{"learn_temperature", NULL, NULL, &s->train.learn_temperature},
		{"temperature", NULL, &s->train.temperature, NULL},
		{"margin", NULL, &s->train.margin, NULL},
		{"dropout", NULL, &s->train.feature_dropout, NULL},
		{"lr", NULL, &s->train.schedule.initial, NULL},
		{"decay", NULL, &s->train.schedule.decay, NULL},
		{"decay_steps", NULL, &s->train.schedule.decay_steps, NULL},
		{"warmup", NULL, &s->train.schedule.warmup_steps, NULL},
		{"beta1", NULL, &s->train.optimizer.beta1, NULL},
		{"beta2", NULL, &s->train.optimizer.beta2, NULL},
		{"weight_decay", NULL, &s->train.optimizer.weight_decay, NULL},
		{"clip", NULL, &s->train.clip_norm, NULL},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
		{
			if (known[i].number != NULL)
				*known[i].number = n;
			else if (known[i].real != NULL)
				*known[i].real = x;
			else
				*known[i].flag = x != 0;
			return;
		}
	if (strcmp(name, "dims") == 0)
		s->encoder.tower[0].embedding_dims = s->encoder.tower[1].embedding_dims = n;
	else if (strcmp(name, "pooling") == 0)
		s->encoder.tower[0].pooling = s->encoder.tower[1].pooling = (DsBagPooling) n;
	else if (strcmp(name, "dense") == 0)
	{
		/* widths with commas between; 0: none */
		for (int t = 0; t < 2; t++)
		{
			DsTowerConfig *tower = &s->encoder.tower[t];

			tower->dense_count = 0;
			for (const char *p = value;
				 p != NULL && atoi(p) > 0 && tower->dense_count < DS_DENSE_MAX;
				 p = strchr(p, ',') != NULL ? strchr(p, ',') + 1 : NULL)
				tower->dense[tower->dense_count++] = (uint32_t) atoi(p);
		}
	}
	else if (strcmp(name, "loss") == 0)
		s->train.loss = (DsLoss) n;
	else if (strcmp(name, "score") == 0)
		s->encoder.score = (DsScore) n;
	else if (strcmp(name, "seed") == 0)
		s->train.seed = n;
	else if (strcmp(name, "batch") == 0)
		s->batch = n;
	else if (strcmp(name, "epochs") == 0)
		s->epochs = n;
	else if (strcmp(name, "pairs") == 0)
		s->pairs = n;
	else if (strcmp(name, "title") == 0)
		s->title = x != 0;
	else if (strcmp(name, "verbose") == 0)
		s->verbose = x != 0;
	else
	{
		fprintf(stderr, "unknown setting %s\n", name);
		exit(2);
	}
}

static void
train(const Settings *s, DsDualEncoder *encoder, const Texts *queries, const Texts *documents,
	  const uint32_t *pairs, size_t pair_count, DsArena *arena)
{
	DsStatus status;
	DsTrainer *trainer;
	DsNet net = {.kind = DS_NET_DUAL, .shared = s->encoder.shared, .score = s->encoder.score};
	DsTrainLimits limits = {s->batch, s->batch, s->batch * (longest(queries) + longest(documents)),
							longest(queries) + longest(documents)};
	void *block;
	size_t size;
	DsRandom random;
	DsStepResult result = {0};
	uint32_t *order = checked(malloc(pair_count * sizeof(uint32_t)));
	uint32_t *query_ids = checked(malloc(s->batch * longest(queries) * sizeof(uint32_t)));
	uint32_t *document_ids = checked(malloc(s->batch * longest(documents) * sizeof(uint32_t)));
	size_t *query_offsets = checked(calloc(s->batch + 1, sizeof(size_t)));
	size_t *document_offsets = checked(calloc(s->batch + 1, sizeof(size_t)));
	uint64_t *query_keys = checked(malloc(s->batch * sizeof(uint64_t)));
	uint64_t *document_keys = checked(malloc(s->batch * sizeof(uint64_t)));

	for (int t = 0; t < 2; t++)
		net.tower[t] = (DsTower){.body = DS_BODY_BAG, .bag = s->encoder.tower[t]};
	check(ds_trainer_size(&net, &s->train, &limits, &size, &status), &status);
	block = checked(ds_arena_zero(arena, size, 1));
	check(ds_trainer_format(block, size, &net, &s->train, &limits, &status), &status);
	check(ds_trainer_attach(block, size, arena, &trainer, &status), &status);
	ds_trainer_initialize(trainer);
	ds_trainer_dual_encoder(trainer, encoder);
	ds_random_init(&random, s->train.seed, UINT64_MAX);
	for (size_t epoch = 0; epoch < s->epochs; epoch++)
	{
		double loss = 0;
		double accuracy = 0;
		size_t steps = 0;

		ds_random_permutation(&random, order, pair_count);
		for (size_t at = 0; at < pair_count; at += s->batch)
		{
			size_t n = pair_count - at < s->batch ? pair_count - at : s->batch;
			DsTrainBatch batch = {
				.pairs = n,
				.documents = n,
				.query = {.ids = query_ids, .offsets = query_offsets, .keys = query_keys},
				.document = {.ids = document_ids,
							 .offsets = document_offsets,
							 .keys = document_keys},
			};

			for (size_t i = 0; i < n; i++)
			{
				const uint32_t *pair = pairs + 2 * order[at + i];

				gather(queries, pair[0], query_ids, query_offsets, query_keys, i);
				gather(documents, pair[1], document_ids, document_offsets, document_keys, i);
			}
			check(ds_trainer_step(trainer, &batch, &result, NULL, &status), &status);
			loss += result.loss;
			accuracy += result.accuracy;
			steps++;
		}
		if (s->verbose)
			printf("epoch %zu: loss %.4f, accuracy %.3f, last gradient %.3f, rate %.5f\n",
				   epoch + 1, loss / (double) steps, accuracy / (double) steps,
				   result.gradient_norm, result.learning_rate);
	}
	free(order);
	free(query_ids);
	free(document_ids);
	free(query_offsets);
	free(document_offsets);
	free(query_keys);
	free(document_keys);
}

int
main(int argc, char **argv)
{
	Settings s = {
		.tokenizer = ds_tokenizer_defaults,
		.encoder = ds_dual_encoder_defaults,
		.train = ds_train_defaults,
		.batch = DS_TRAIN_BATCH_DEFAULT,
		.epochs = DS_TRAIN_EPOCHS_DEFAULT,
		.pairs = SIZE_MAX,
	};
	const char *folder = argc > 1 ? argv[1] : "../shared/data/fashion";
	DsArena arena;
	DsStatus status;
	Texts queries = {0};
	Texts documents = {0};
	Texts questions = {0};
	uint32_t *product_of = checked(calloc(1 << 20, sizeof(uint32_t)));
	uint64_t(*attributes)[ATTRIBUTES] = checked(calloc(1 << 17, sizeof(*attributes)));
	uint64_t(*asked)[ATTRIBUTES] = checked(calloc(1 << 12, sizeof(*asked)));
	bool *chinese = checked(calloc(1 << 12, sizeof(bool)));
	uint32_t *pairs = NULL;
	size_t pair_count = 0;
	size_t pair_room = 0;
	char *line = NULL;
	size_t line_room = 0;
	char *f[9];
	FILE *file;
	DsTokenizerLearner *learner;
	DsTokenizer tokenizer;
	DsTokenScratch scratch;
	DsDualEncoder encoder;
	void *blob;
	size_t blob_size;
	float *vectors;
	float *asked_vectors;
	float *scores;
	float *work;
	double t0;
	double t1;
	double t2;
	double t3;
	double t4;
	double t5;
	double cpu;
	double precision[2] = {0};
	size_t asked_count[2] = {0};
	size_t most_relevant[2] = {0};

	for (int i = 2; i < argc; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals == NULL)
		{
			fprintf(stderr, "%s is not name=value\n", argv[i]);
			return 2;
		}
		*equals = '\0';
		set(&s, argv[i], equals + 1);
	}

	file = open_data(folder, "products.tsv.gz", "gzip -dc");
	while (getline(&line, &line_room, file) > 0)
	{
		char text[2000];
		size_t number;

		if (split(line, f, 9) < 8)
			continue;
		if (s.title)
			snprintf(text, sizeof(text), "%s", f[7]);
		else
			snprintf(text, sizeof(text), "%s %s %s %s %s %s %s", f[7], f[1], f[2], f[3], f[4], f[5],
					 f[6]);
		number = add_text(&documents, text);
		product_of[atoi(f[0]) & ((1 << 20) - 1)] = (uint32_t) number;
		attributes[number][0] = hash(f[1]);
		for (int a = 1; a < ATTRIBUTES; a++)
			attributes[number][a] = hash(f[a + 2]);
	}
	pclose(file);
	file = open_data(folder, "pairs.train.tsv.gz", "gzip -dc");
	for (bool header = true; getline(&line, &line_room, file) > 0; header = false)
	{
		if (header || pair_count >= s.pairs || split(line, f, 3) < 3)
			continue;
		if (pair_count == pair_room)
		{
			pair_room = pair_room * 2 + 1000;
			pairs = checked(realloc(pairs, pair_room * 2 * sizeof(uint32_t)));
		}
		pairs[2 * pair_count] = (uint32_t) add_text(&queries, f[1]);
		pairs[2 * pair_count++ + 1] = product_of[atoi(f[2]) & ((1 << 20) - 1)];
	}
	pclose(file);
	file = open_data(folder, "queries.dev.tsv", "cat");
	for (bool header = true; getline(&line, &line_room, file) > 0; header = false)
	{
		size_t number;

		if (header || split(line, f, 8) < 8)
			continue;
		number = add_text(&questions, f[2]);
		chinese[number] = strcmp(f[1], "zh") == 0;
		for (int a = 0; a < ATTRIBUTES; a++)
			asked[number][a] = f[a + 3][0] != '\0' ? hash(f[a + 3]) : 0;
	}
	pclose(file);
	free(line);

	ds_arena_init(&arena, NULL);
	t0 = now();
	check(ds_tokenizer_learn_begin(&s.tokenizer, &arena, &learner, &status), &status);
	for (size_t t = 0; t < queries.count; t++)
		check(ds_tokenizer_learn_add(learner, queries.text[t], strlen(queries.text[t]), &status),
			  &status);
	for (size_t t = 0; t < documents.count; t++)
		check(
			ds_tokenizer_learn_add(learner, documents.text[t], strlen(documents.text[t]), &status),
			&status);
	check(ds_tokenizer_learn_finish(learner, &arena, &blob, &blob_size, &status), &status);
	check(ds_tokenizer_open(&tokenizer, blob, blob_size, &status), &status);
	check(ds_tokenizer_scratch(&tokenizer, &arena, &scratch, &status), &status);
	t1 = now();
	encode_texts(&queries, &tokenizer, &scratch);
	encode_texts(&documents, &tokenizer, &scratch);
	encode_texts(&questions, &tokenizer, &scratch);
	t2 = now();
	printf("processor: %s\n", ds_cpu_level_name(ds_cpu_level()));
	printf("%zu products, %zu pairs, %zu queries\n", documents.count, pair_count, questions.count);
	printf("tokenizer: %u learned features + %u buckets, %zu bytes, learned in %.2f s\n",
		   tokenizer.learned, tokenizer.config.buckets, blob_size, t1 - t0);
	printf("features: %.1f a document, %.1f a query; %.2f us a text\n",
		   (double) documents.offsets[documents.count] / (double) documents.count,
		   (double) queries.offsets[queries.count] / (double) queries.count,
		   (t2 - t1) * 1e6 / (double) (documents.count + queries.count + questions.count));

	s.encoder.tower[0].vocabulary = s.encoder.tower[1].vocabulary = tokenizer.vocabulary;
	cpu = processor_time();
	t3 = now();
	train(&s, &encoder, &queries, &documents, pairs, pair_count, &arena);
	t4 = now();
	cpu = processor_time() - cpu;
	vectors = checked(malloc(documents.count * encoder.dims * sizeof(float)));
	asked_vectors = checked(malloc(questions.count * encoder.dims * sizeof(float)));
	scores = checked(malloc(documents.count * sizeof(float)));
	work = checked(malloc(ds_dual_encoder_scratch(&encoder) * sizeof(float)));
	check(ds_dual_encoder_infer(&encoder, DS_SIDE_DOCUMENT, documents.ids, documents.offsets,
								documents.count, work, vectors, NULL, &status),
		  &status);
	t5 = now();
	printf(
		"training: %.2f s, processor %.2f s (%zu epochs, batches of %zu); documents encoded: %.2f us each\n",
		t4 - t3, cpu, s.epochs, s.batch, (t5 - t4) * 1e6 / (double) documents.count);
	t0 = now();
	for (int round = 0; round < 20; round++)
		for (size_t q = 0; q < questions.count; q++)
		{
			size_t offsets[2] = {0};

			offsets[1] = ds_tokenizer_encode(&tokenizer, &scratch, questions.text[q],
											 strlen(questions.text[q]));
			check(ds_dual_encoder_infer(&encoder, DS_SIDE_QUERY, scratch.ids, offsets, 1, work,
										asked_vectors + q * encoder.dims, NULL, &status),
				  &status);
		}
	printf("one query, text to vector: %.2f us\n",
		   (now() - t0) * 1e6 / 20 / (double) questions.count);

	for (size_t q = 0; q < questions.count; q++)
	{
		int hits = 0;
		size_t relevant = 0;

		ds_gemv(0, documents.count, encoder.dims, vectors, asked_vectors + q * encoder.dims,
				scores);
		for (int k = 0; k < TOP; k++)
		{
			size_t best = 0;
			bool right = true;

			for (size_t d = 1; d < documents.count; d++)
				if (scores[d] > scores[best])
					best = d;
			scores[best] = -1e30f;
			for (int a = 0; a < ATTRIBUTES; a++)
				right = right && (asked[q][a] == 0 || asked[q][a] == attributes[best][a]);
			hits += right;
		}
		for (size_t d = 0; d < documents.count; d++)
		{
			bool right = true;

			for (int a = 0; a < ATTRIBUTES; a++)
				right = right && (asked[q][a] == 0 || asked[q][a] == attributes[d][a]);
			relevant += right;
		}
		precision[chinese[q]] += hits / (double) TOP;
		most_relevant[chinese[q]] += relevant < TOP ? relevant : TOP;
		asked_count[chinese[q]]++;
		if (s.verbose && hits < TOP)
			printf("%2d/10 of %zu: %s\n", hits, relevant, questions.text[q]);
	}
	for (int l = 1; l >= 0; l--)
		printf("P@10 %s: %.4f over %zu queries (the best possible: %.4f)\n", l ? "zh" : "en",
			   precision[l] / (double) asked_count[l], asked_count[l],
			   (double) most_relevant[l] / TOP / (double) asked_count[l]);
	ds_arena_free(&arena);
	return 0;
}
