/*
 * image_tower.c
 *		Queries to pictures without a server: quality and speed of towers over pictures.
 *
 *     build/bench/image_tower [DIR [name=value ...]]
 *
 * DIR (../shared/data/fashion unless given) has the files of the fashion data set.  Products whose
 * id hashes to a fifth are held out: no training pair has them.  Trains a bag over queries and a
 * convolutional tower over pictures, and asks the queries, of which a product is relevant
 * when it has every attribute that the query names: P@10 by the attributes named, over
 * the products held out, over as many of those seen, and over all.  Then, for each picture, how
 * many of its ten nearest among all others have its type of article.
 *
 *     layers=32,48p,...   3 x 3 convolutions: channels, then p for an average pool behind, m for
 *                         a maximum, s for stride 2, r for a residual block of two (of as many channels as come in)
 *     grouped=0|1         all pairs of a product behind each other
 *     workers=n           processes
 *     steps=n             no more than so many, and only how fast they were
 *     documents=image|text|both|gated
 *                         what a document is: its picture, its title, or both, joined or by a gate
 *     titles=0|1          a product's title is one more query for it
 *     types=0|1           its type of article likewise
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/blas.h"
#include "base/cpu.h"
#include "base/random.h"
#include "image_tower_data.h"
#include "nn/training.h"

#define TOP 10
static const char *const attribute_names[ATTRIBUTES] = {"gender", "type", "colour", "season",
														"usage"};

typedef struct Settings
{
	DsTrainConfig train;
	char layers[200];
	size_t batch;
	size_t epochs;
	size_t workers;
	size_t steps;
	bool grouped;
	bool titles;
	bool types;
	char documents[10];
	double leave_out;
	bool norm;
	bool mirrors;
	uint32_t moves;
	uint32_t stem; /* kernel of the first layer */
} Settings;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* of this process and of those that it has waited for */
static double
processors_time(void)
{
	struct rusage children;

	getrusage(RUSAGE_CHILDREN, &children);
	return processor_time() + (double) children.ru_utime.tv_sec +
		   (double) children.ru_utime.tv_usec * 1e-6 + (double) children.ru_stime.tv_sec +
		   (double) children.ru_stime.tv_usec * 1e-6;
}

static DsImageSpec
make_spec(const Settings *s, uint32_t dims)
{
	DsImageSpec spec;
	uint32_t result = 0;
	const char *p = s->layers;

	ds_image_spec_init(&spec, DS_IMAGE_CONV);
	spec.height = HIGH;
	spec.width = WIDE;
	spec.channels = 3;
	while (*p != '\0')
	{
		char *end;
		uint32_t outs = (uint32_t) strtoul(p, &end, 10);
		size_t says = strcspn(end, ",");
		bool block = memchr(end, 'r', says) != NULL;
		uint32_t from = result;

		for (int i = 0; i <= block; i++)
		{
			uint32_t kernel = result == 0 ? s->stem : 3;

			spec.layers[spec.layer_count] =
				(DsImageLayer){.kind = DS_LAYER_CONV,
							   .input = result,
							   .out = outs,
							   .kernel_height = kernel,
							   .kernel_width = kernel,
							   .stride = memchr(end, 's', says) != NULL ? 2 : 1,
							   .padding = (kernel - 1) / 2,
							   .bias = !s->norm,
							   .norm = s->norm,
							   .epsilon = s->norm ? 1e-5f : 0,
							   .add = i == 1 ? from : 0,
							   .activation = DS_ACT_RELU};
			result = ++spec.layer_count;
		}
		if (memchr(end, 'p', says) != NULL || memchr(end, 'm', says) != NULL)
		{
			spec.layers[spec.layer_count] = (DsImageLayer){
				.kind = memchr(end, 'm', says) != NULL ? DS_LAYER_MAX_POOL : DS_LAYER_AVERAGE_POOL,
				.input = result,
				.out = outs,
				.kernel_height = 2,
				.kernel_width = 2,
				.stride = 2};
			result = ++spec.layer_count;
		}
		p = end + says + (end[says] != '\0');
		if (*p == '\0')
			spec.layers[spec.layer_count++] =
				(DsImageLayer){.kind = DS_LAYER_GLOBAL_AVERAGE, .input = result, .out = outs};
	}
	spec.module_count = 1;
	spec.modules[0] = (DsSpecModule){.kind = DS_MODULE_DENSE,
									 .in = spec.layers[spec.layer_count - 1].out,
									 .out = dims,
									 .bias = 1};
	return spec;
}

static void
set(Settings *s, const char *name, const char *value)
{
	double x = atof(value);

	if (strcmp(name, "layers") == 0)
		snprintf(s->layers, sizeof(s->layers), "%s", value);
	else if (strcmp(name, "documents") == 0)
		snprintf(s->documents, sizeof(s->documents), "%s", value);
	else if (strcmp(name, "leave_out") == 0)
		s->leave_out = x;
	else if (strcmp(name, "batch") == 0)
		s->batch = (size_t) x;
	else if (strcmp(name, "epochs") == 0)
		s->epochs = (size_t) x;
	else if (strcmp(name, "workers") == 0)
		s->workers = (size_t) x;
	else if (strcmp(name, "steps") == 0)
		s->steps = (size_t) x;
	else if (strcmp(name, "grouped") == 0)
		s->grouped = x != 0;
	else if (strcmp(name, "titles") == 0)
		s->titles = x != 0;
	else if (strcmp(name, "types") == 0)
		s->types = x != 0;
	else if (strcmp(name, "norm") == 0)
		s->norm = x != 0;
	else if (strcmp(name, "mirrors") == 0)
		s->mirrors = x != 0;
	else if (strcmp(name, "moves") == 0)
		s->moves = (uint32_t) x;
	else if (strcmp(name, "stem") == 0)
		s->stem = (uint32_t) x;
	else if (strcmp(name, "lr") == 0)
		s->train.schedule.initial = x;
	else if (strcmp(name, "temperature") == 0)
		s->train.temperature = x;
	else if (strcmp(name, "symmetric") == 0)
		s->train.symmetric = x != 0;
	else if (strcmp(name, "learn_temperature") == 0)
		s->train.learn_temperature = x != 0;
	else if (strcmp(name, "weight_decay") == 0)
		s->train.optimizer.weight_decay = x;
	else if (strcmp(name, "dropout") == 0)
		s->train.feature_dropout = x;
	else if (strcmp(name, "clip") == 0)
		s->train.clip_norm = x;
	else if (strcmp(name, "seed") == 0)
		s->train.seed = (uint64_t) x;
	else
	{
		fprintf(stderr, "unknown setting %s\n", name);
		exit(2);
	}
}

/* The pairs of an epoch: shuffled, or products shuffled with their pairs together */
static void
shuffle(const Data *d, bool grouped, DsRandom *random, uint32_t *order)
{
	uint32_t *products;
	uint32_t *first;
	size_t n = 0;

	if (!grouped)
	{
		ds_random_permutation(random, order, d->pairs);
		return;
	}
	products = checked(malloc(d->products * sizeof(uint32_t)));
	first = checked(calloc(d->products + 2, sizeof(uint32_t)));
	ds_random_permutation(random, products, d->products);
	for (size_t i = 0; i < d->pairs; i++)
		first[d->pair_product[i] + 1]++;
	for (size_t p = 0; p < d->products; p++)
		first[p + 1] += first[p];
	{
		uint32_t *by = checked(malloc(d->pairs * sizeof(uint32_t)));
		uint32_t *at = checked(malloc((d->products + 1) * sizeof(uint32_t)));

		memcpy(at, first, (d->products + 1) * sizeof(uint32_t));
		for (uint32_t i = 0; i < d->pairs; i++)
			by[at[d->pair_product[i]]++] = i;
		for (size_t k = 0; k < d->products; k++)
			for (uint32_t i = first[products[k]]; i < first[products[k] + 1]; i++)
				order[n++] = by[i];
		free(by);
		free(at);
	}
	free(products);
	free(first);
}

/* What one worker does; all of them do the same */
static void
work(const Settings *s, const Data *d, DsTrainer *trainer, pthread_barrier_t *barrier, int worker)
{
	DsRandom random;
	DsStatus status;
	uint32_t *order = checked(malloc(d->pairs * sizeof(uint32_t)));
	uint32_t *ids = checked(malloc(s->batch * 300 * sizeof(uint32_t)));
	size_t *offsets = checked(calloc(s->batch + 1, sizeof(size_t)));
	uint32_t *title_ids = checked(malloc(s->batch * 300 * sizeof(uint32_t)));
	size_t *title_offsets = checked(calloc(s->batch + 1, sizeof(size_t)));
	uint64_t *query_keys = checked(malloc(s->batch * sizeof(uint64_t)));
	uint64_t *document_keys = checked(malloc(s->batch * sizeof(uint64_t)));
	uint32_t *pictures = checked(malloc(s->batch * sizeof(uint32_t)));
	int workers = (int) s->workers;
	double begin = now();
	size_t made = 0;

	ds_random_init(&random, s->train.seed, UINT64_MAX);
	for (size_t epoch = 0; epoch < s->epochs; epoch++)
	{
		double loss = 0;
		double accuracy = 0;
		size_t steps = 0;
		DsStepResult result = {0};

		shuffle(d, s->grouped, &random, order);
		for (size_t at = 0; at + s->batch <= d->pairs && (s->steps == 0 || made < s->steps);
			 at += s->batch, made++)
		{
			DsTrainBatch batch = {.pairs = s->batch,
								  .documents = s->batch,
								  .query = {.ids = ids, .offsets = offsets, .keys = query_keys},
								  .document = {.ids = title_ids,
											   .offsets = title_offsets,
											   .pixels = d->pixels,
											   .pictures = d->products,
											   .picture = pictures,
											   .keys = document_keys}};

			for (size_t i = 0; i < s->batch; i++)
			{
				uint32_t pair = order[at + i];
				size_t n = d->queries.offsets[pair + 1] - d->queries.offsets[pair];

				memcpy(ids + offsets[i], d->queries.ids + d->queries.offsets[pair],
					   n * sizeof(uint32_t));
				offsets[i + 1] = offsets[i] + n;
				query_keys[i] = d->queries.key[pair];
				{
					const size_t *at_title = d->titles.offsets + d->pair_product[pair];

					memcpy(title_ids + title_offsets[i], d->titles.ids + at_title[0],
						   (at_title[1] - at_title[0]) * sizeof(uint32_t));
					title_offsets[i + 1] = title_offsets[i] + (at_title[1] - at_title[0]);
				}
				document_keys[i] = d->pair_product[pair] + 1;
				pictures[i] = d->pair_product[pair];
			}
			check(ds_trainer_begin(trainer, &batch, 0, &status), &status);
			for (int k = worker; k < DS_SHARDS; k += workers)
				check(ds_trainer_forward_shard(trainer, k, &status), &status);
			pthread_barrier_wait(barrier);
			for (int k = worker; k < DS_SHARDS; k += workers)
				check(ds_trainer_loss_shard(trainer, k, &status), &status);
			pthread_barrier_wait(barrier);
			for (int k = worker; k < DS_SHARDS; k += workers)
				check(ds_trainer_backward_shard(trainer, k, &status), &status);
			pthread_barrier_wait(barrier);
			ds_trainer_reduce(trainer, worker, workers);
			pthread_barrier_wait(barrier);
			check(ds_trainer_result(trainer, &result, &status), &status);
			ds_trainer_update(trainer, worker, workers);
			pthread_barrier_wait(barrier);
			loss += result.loss;
			accuracy += result.accuracy;
			steps++;
		}
		if (s->steps > 0 && made == s->steps)
			break;
		if (worker == 0)
			printf("epoch %zu: loss %.4f, accuracy %.3f, gradient %.3f, rate %.5f; %.0f s, "
				   "processor %.0f s a worker, %.0f pairs/s of processor\n",
				   epoch + 1, loss / (double) steps, accuracy / (double) steps,
				   result.gradient_norm, result.learning_rate, now() - begin, processor_time(),
				   (double) ((epoch + 1) * steps * s->batch) / processor_time());
		fflush(stdout);
	}
}

static float *
encode(DsTrainer *trainer, DsSide side, const DsTrainTexts *texts, size_t count, size_t dims)
{
	float *out = checked(malloc(count * dims * sizeof(float)));
	DsStatus status;

	check(ds_trainer_encode(trainer, side, texts, count, out, NULL, &status), &status);
	return out;
}

static bool
relevant(const Data *d, size_t q, size_t p)
{
	for (int a = 0; a < ATTRIBUTES; a++)
		if (d->asked[q][a] != 0 && d->asked[q][a] != d->attributes[p][a])
			return false;
	return true;
}

/* The ten highest scores of a set, best first */
static void
ten_best(const Data *d, const float *scores, int set, size_t but, size_t *best)
{
	size_t n = 0;

	for (size_t p = 0; p < d->products; p++)
	{
		size_t k = n;

		if (!in_set(d, p, set) || p == but)
			continue;
		while (k > 0 && scores[p] > scores[best[k - 1]])
			k--;
		if (k == TOP)
			continue;
		n = n < TOP ? n + 1 : TOP;
		memmove(best + k + 1, best + k, (n - 1 - k) * sizeof(*best));
		best[k] = p;
	}
}

typedef struct Group
{
	double found[SETS]; /* sums of P@10 */
	double full[SETS]; /* of queries with ten relevant ones among those held out and in SEEN */
	size_t count;
	size_t full_count;
} Group;

static void
print_group(const char *name, const Group *g)
{
	double n = (double) g->count;
	double full = (double) (g->full_count > 0 ? g->full_count : 1);

	printf("  %-28s %.3f (%zu) %.3f  %.3f %.3f\n", name, g->full[HELD] / full, g->full_count,
		   g->full[SEEN] / full, g->found[HELD] / n, g->found[EVERY] / n);
}

static void
evaluate(const Data *d, const float *vectors, const float *asked, size_t dims)
{
	float *scores = checked(malloc(d->products * sizeof(float)));
	Group groups[1 << ATTRIBUTES] = {0};
	Group whole = {0};
	size_t best[TOP + 1];
	size_t same[2] = {0};
	size_t asked_pictures[2] = {0};

	for (size_t q = 0; q < d->questions.count; q++)
	{
		Group *g = groups;
		double precision[SETS] = {0};
		size_t there[SETS] = {0};

		for (int a = 0; a < ATTRIBUTES; a++)
			g += (d->asked[q][a] != 0) << a;
		ds_gemv(0, d->products, dims, vectors, asked + q * dims, scores);
		for (int set = 0; set < SETS; set++)
		{
			ten_best(d, scores, set, SIZE_MAX, best);
			for (size_t k = 0; k < TOP; k++)
				precision[set] += (double) relevant(d, q, best[k]) / TOP;
			for (size_t p = 0; p < d->products; p++)
				there[set] += in_set(d, p, set) && relevant(d, q, p);
		}
		for (Group *to = g;; to = &whole)
		{
			bool full = there[HELD] >= TOP && there[SEEN] >= TOP;

			to->count++;
			to->full_count += full;
			for (int set = 0; set < SETS; set++)
			{
				to->found[set] += precision[set];
				to->full[set] += full ? precision[set] : 0;
			}
			if (to == &whole)
				break;
		}
	}
	printf("P@10 by attributes: held out, of queries with ten relevant ones (how many); seen, the "
		   "same; held out; all products\n");
	for (int group = 1; group < 1 << ATTRIBUTES; group++)
	{
		char name[100] = "";

		if (groups[group].count == 0)
			continue;
		for (int a = 0; a < ATTRIBUTES; a++)
			if (group >> a & 1)
				snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s ",
						 attribute_names[a]);
		print_group(name, &groups[group]);
	}
	print_group("all", &whole);
	for (size_t p = 0; p < d->products; p++)
	{
		ds_gemv(0, d->products, dims, vectors, vectors + p * dims, scores);
		ten_best(d, scores, EVERY, p, best);
		for (size_t k = 0; k < TOP; k++)
			same[d->held[p]] += d->attributes[best[k]][1] == d->attributes[p][1];
		asked_pictures[d->held[p]]++;
	}
	printf("picture to picture: of the ten nearest %.3f have the type of article of a picture held "
		   "out, %.3f of a seen one, %.3f over all\n",
		   (double) same[1] / (double) (TOP * asked_pictures[1]),
		   (double) same[0] / (double) (TOP * asked_pictures[0]),
		   (double) (same[0] + same[1]) / (double) (TOP * d->products));
}

int
main(int argc, char **argv)
{
	Settings s = {.train = ds_train_defaults,
				  .layers = "32p,48p,96,96p,144,144",
				  .batch = 256,
				  .epochs = 4,
				  .workers = 1,
				  .norm = true,
				  .mirrors = true,
				  .documents = "image",
				  .leave_out = 0.1,
				  .grouped = true,
				  .stem = 3};
	const char *folder = argc > 1 ? argv[1] : "../shared/data/fashion";
	Data d = {0};
	DsArena arena;
	DsStatus status;
	DsTokenizerConfig config = ds_tokenizer_defaults;
	DsTokenizerLearner *learner;
	DsTokenizer tokenizer;
	DsTokenScratch scratch;
	DsTrainer *trainer;
	DsNet *net = checked(calloc(1, sizeof(*net)));
	DsTrainLimits limits;
	void *blob;
	size_t blob_size;
	size_t size;
	char *block;
	pthread_barrier_t *barrier;
	pthread_barrierattr_t shared;
	double t;
	size_t dims;
	float *vectors;
	float *asked;
	double processor;

	setvbuf(stdout, NULL, _IOLBF, 0);
	s.train.schedule.kind = DS_SCHEDULE_COSINE;
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
	t = now();
	read_data(folder, s.titles, s.types, &d);
	printf("%zu products, %zu training pairs, %zu queries; read in %.1f s\n", d.products, d.pairs,
		   d.questions.count, now() - t);
	ds_arena_init(&arena, NULL);
	check(ds_tokenizer_learn_begin(&config, &arena, &learner, &status), &status);
	for (size_t i = 0; i < d.queries.count; i++)
		check(
			ds_tokenizer_learn_add(learner, d.queries.text[i], strlen(d.queries.text[i]), &status),
			&status);
	for (size_t i = 0; i < d.titles.count && strcmp(s.documents, "image") != 0; i++)
		if (!d.held[i])
			check(ds_tokenizer_learn_add(learner, d.titles.text[i], strlen(d.titles.text[i]),
										 &status),
				  &status);
	check(ds_tokenizer_learn_finish(learner, &arena, &blob, &blob_size, &status), &status);
	check(ds_tokenizer_open(&tokenizer, blob, blob_size, &status), &status);
	check(ds_tokenizer_scratch(&tokenizer, &arena, &scratch, &status), &status);
	encode_texts(&d.queries, &tokenizer, &scratch);
	encode_texts(&d.questions, &tokenizer, &scratch);
	encode_texts(&d.titles, &tokenizer, &scratch);

	net->kind = DS_NET_DUAL;
	net->score = DS_SCORE_COSINE;
	net->tower[0] = (DsTower){.body = DS_BODY_BAG, .bag = ds_dual_encoder_defaults.tower[0]};
	net->tower[0].bag.vocabulary = tokenizer.vocabulary;
	dims = net->tower[0].bag.dense[net->tower[0].bag.dense_count - 1];
	net->tower[1].body = DS_BODY_IMAGE;
	net->tower[1].image = make_spec(&s, (uint32_t) dims);
	net->tower[1].mirrors = s.mirrors;
	net->tower[1].moves = s.moves;
	for (int c = 0; c < 3; c++)
	{
		net->tower[1].pixel_mean[c] = 0.8;
		net->tower[1].pixel_deviation[c] = 0.3;
	}
	net->tower[1].bag = net->tower[0].bag;
	net->tower[1].fusion_dims = (uint32_t) dims;
	net->tower[1].leave_out = s.leave_out;
	if (strcmp(s.documents, "text") == 0)
		net->tower[1].body = DS_BODY_BAG;
	else if (strcmp(s.documents, "image") != 0)
		net->tower[1].body = DS_BODY_FUSION;
	net->tower[1].fusion =
		strcmp(s.documents, "gated") == 0 ? DS_FUSION_GATED : DS_FUSION_CONCATENATE;
	s.train.schedule.total_steps = (double) (d.pairs / s.batch * s.epochs);
	s.train.schedule.warmup_steps = s.train.schedule.total_steps / 20;
	limits = (DsTrainLimits){s.batch, s.batch, s.batch * 600, 600};
	check(ds_trainer_size(net, &s.train, &limits, &size, &status), &status);
	block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	barrier = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(barrier, &shared, (unsigned) s.workers);
	check(ds_trainer_format(block, size, net, &s.train, &limits, &status), &status);
	check(ds_trainer_attach(block, size, &arena, &trainer, &status), &status);
	ds_trainer_initialize(trainer);
	fflush(stdout);
	processor = processors_time();
	t = now();
	for (int w = 1; w < (int) s.workers; w++)
		if (fork() == 0)
		{
			work(&s, &d, trainer, barrier, w);
			_exit(0);
		}
	work(&s, &d, trainer, barrier, 0);
	while (wait(NULL) > 0)
		;
	if (s.steps > 0)
	{
		double seconds = now() - t;

		printf("%zu pairs in %.3f s, processors %.3f s\n", s.steps * s.batch, seconds,
			   processors_time() - processor);
		return 0;
	}
	printf("trained in %.1f s by %zu workers: %.0f pairs a second\n", now() - t, s.workers,
		   (double) (d.pairs / s.batch * s.batch * s.epochs) / (now() - t));
	t = processor_time();
	vectors = encode(trainer, DS_SIDE_DOCUMENT,
					 &(DsTrainTexts){.ids = d.titles.ids,
									 .offsets = d.titles.offsets,
									 .pixels = d.pixels,
									 .pictures = d.products,
									 .picture = d.numbers},
					 d.products, dims);
	printf("documents encoded: %.0f a second of processor\n",
		   (double) d.products / (processor_time() - t));
	asked = encode(trainer, DS_SIDE_QUERY,
				   &(DsTrainTexts){.ids = d.questions.ids, .offsets = d.questions.offsets},
				   d.questions.count, dims);
	evaluate(&d, vectors, asked, dims);
	ds_arena_free(&arena);
	return 0;
}
