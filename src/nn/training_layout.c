/*
 * training_layout.c
 *		The block of a trainer: what lies where.
 *
 *     header
 *     parameters, a BlockParameter each
 *     values of all parameters, then the optimizer's arrays     what a checkpoint holds
 *     gradients of the four shards and their sum, tables' gradients
 *     vectors of the batch and gradients by them
 *
 * One function places everything, for counting and for writing, so no offset can
 * be wrong in one of the two.
 */
#include "base/pages.h"
#include "nn/training_private.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef DS_NN_DOUBLE
#define IDENTITY "deepsearch trainer 1 f64"
#else
#define IDENTITY "deepsearch trainer 1"
#endif

typedef struct Place
{
	uint64_t at;
	bool overflow;
} Place;

/* count * width * size bytes, aligned to a cache line */
static uint64_t
take(Place *place, uint64_t count, uint64_t width, uint64_t size)
{
	uint64_t offset = place->at;
	uint64_t bytes;

	if (__builtin_mul_overflow(count, width, &bytes) ||
		__builtin_mul_overflow(bytes, size, &bytes) || bytes > SIZE_MAX / 4 ||
		__builtin_add_overflow(place->at, (bytes + 63) / 64 * 64, &place->at))
		place->overflow = true;
	return offset;
}

/*
 * The list of parameters
 */

typedef struct List
{
	const DsNet *net;
	const DsTrainConfig *config;
	BlockParameter *parameter; /* or NULL: count only */
	uint64_t count;
} List;

static const char *
name_of_tower(const DsNet *net, size_t tower)
{
	if (net->kind == DS_NET_SINGLE)
		return "model";
	return net->shared ? "shared" : tower == 0 ? "query" : "document";
}

/* Does a rule's prefix stand for this parameter? */
static bool
rule_fits(const char *prefix, const char *name)
{
	size_t n;

	if (prefix[0] == '*' && strchr(name, '.') != NULL)
	{
		prefix++;
		name = strchr(name, '.');
	}
	n = strlen(prefix);
	return strncmp(prefix, name, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

static double
rate_factor(const DsNet *net, const DsTrainConfig *config, size_t tower, const char *name)
{
	const DsEncoderSpec *spec = tower_transformer(&net->tower[tower]);
	double factor = 1;
	const char *part = strchr(name, '.');
	unsigned layer;

	if (part != NULL && spec != NULL)
	{
		double layers = spec->layers;

		if (sscanf(part, ".layer.%u.", &layer) == 1)
			factor = pow(config->layer_decay, layers - layer);
		else if (strncmp(part, ".final.", 7) != 0 && strncmp(part, ".module.", 8) != 0)
			factor = pow(config->layer_decay, layers + 1);
	}
	for (uint32_t i = config->rule_count; i-- > 0;)
		if (rule_fits(config->rules[i].prefix, name))
			return factor * config->rules[i].factor;
	return factor;
}

__attribute__((format(printf, 6, 7))) static void
append_parameter(List *list, size_t tower, uint64_t rows, uint64_t columns, bool sparse,
				 const char *format, ...)
{
	BlockParameter *p = list->parameter;
	va_list args;
	size_t n = 0;

	if (p == NULL)
	{
		list->count++;
		return;
	}
	p += list->count++;
	memset(p, 0, sizeof(*p));
	p->tower = (uint32_t) tower;
	if (tower < 2)
		n = (size_t) snprintf(p->name, sizeof(p->name), "%s.", name_of_tower(list->net, tower));
	va_start(args, format);
	vsnprintf(p->name + n, sizeof(p->name) - n, format, args);
	va_end(args);
	p->shape_count = columns > 0 ? 2 : 1;
	p->shape[0] = rows;
	p->shape[1] = columns > 0 ? columns : 1;
	p->count = p->shape[0] * p->shape[1];
	p->sparse = sparse;
	p->decays = p->shape_count == 2;
	p->factor = rate_factor(list->net, list->config, tower < 2 ? tower : 0, p->name);
	p->frozen = p->factor == 0;
}

static bool
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name);
	size_t m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

static void
list_transformer(List *list, size_t t, const DsEncoderSpec *spec)
{
	DsSpecTensor tensor;

	for (size_t i = 0; ds_spec_tensor(spec, i, &tensor); i++)
	{
		append_parameter(list, t, tensor.shape[0], tensor.rank == 2 ? tensor.shape[1] : 0,
						 strcmp(tensor.name, "token.weight") == 0, "%s", tensor.name);
		if (list->parameter != NULL)
			list->parameter[list->count - 1].product = tensor.linear;
	}
}

static void
list_image(List *list, size_t t)
{
	const DsImageSpec *spec = &list->net->tower[t].image;
	DsImageTensor tensor;
	uint64_t layer = list->count; /* the first parameter of this one */

	for (size_t i = 0; ds_image_spec_tensor(spec, i, &tensor); i++)
	{
		uint64_t rest = (uint64_t) tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
		BlockParameter *p = list->parameter != NULL ? list->parameter + list->count : NULL;
		bool learns = false;

		append_parameter(list, t, tensor.shape[0], tensor.rank > 1 ? rest : 0, false, "%s",
						 tensor.name);
		if (p == NULL)
			continue;
		if (p->shape_count == 2)
			layer = list->count - 1;
		p->statistic = ends_with(p->name, ".norm.mean") || ends_with(p->name, ".norm.var");
		for (uint64_t k = layer; k < list->count; k++)
			learns = learns || (!list->parameter[k].statistic && !list->parameter[k].frozen);
		/* averages of one batch norm without the other would be no use */
		if (p->statistic && (list->net->tower[t].fixed_moments || !learns ||
							 (ends_with(p->name, ".var") && p[-1].frozen)))
			p->frozen = true;
	}
}

static void
list_tower(List *list, size_t t)
{
	const DsTower *tower = &list->net->tower[t];
	uint64_t ins = tower->bag.embedding_dims;

	if (tower_transformer(tower) != NULL)
	{
		list_transformer(list, t, tower_transformer(tower));
		return;
	}
	if (tower->body == DS_BODY_IMAGE)
	{
		list_image(list, t);
		return;
	}
	if (has_bag(tower))
		append_parameter(list, t, tower->bag.vocabulary, ins, true, "embedding");
	for (uint32_t i = 0; i < tower->bag.dense_count; i++)
	{
		append_parameter(list, t, ins, tower->bag.dense[i], false, "dense.%u.weight", i);
		append_parameter(list, t, tower->bag.dense[i], 0, false, "dense.%u.bias", i);
		ins = tower->bag.dense[i];
	}
	if (tower->body != DS_BODY_FUSION)
		return;
	list_image(list, t);
	append_parameter(list, t, ins + ds_image_spec_dims(&tower->image), tower->fusion_dims, false,
					 "fusion.weight");
	append_parameter(list, t, tower->fusion_dims, 0, false, "fusion.bias");
	append_parameter(list, t, ins, 0, false, "fusion.no_text");
	append_parameter(list, t, ds_image_spec_dims(&tower->image), 0, false, "fusion.no_image");
}

static uint64_t
list_parameters(const DsNet *net, const DsTrainConfig *config, BlockParameter *parameter)
{
	List list = {net, config, parameter, 0};

	for (size_t t = 0; t < net_towers(net); t++)
		list_tower(&list, t);
	if (net->kind == DS_NET_DUAL)
	{
		append_parameter(&list, 2, 1, 0, false, "log_scale");
		/* the temperature is of use to the losses that divide by it only */
		if (parameter != NULL && (!config->learn_temperature || !ds_loss_scales(config->loss)))
			parameter[list.count - 1].frozen = true;
	}
	return list.count;
}

/*
 * Places
 */

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void
place_gradients(BlockHeader *head, BlockParameter *parameter, Place *place)
{
	uint64_t units = 0;

	head->dense = 0;
	for (uint64_t i = 0; i < head->parameters; i++)
	{
		BlockParameter *p = &parameter[i];

		p->units = 0;
		if (p->frozen)
			continue;
		if (p->sparse)
		{
			p->units = TABLE_UNITS;
			if (ds_training_in_table(head, p))
				p->gradient = take(place, p->count, 1, sizeof(ds_real));
			p->touched = take(place, p->shape[0], 1, 1);
		}
		else
		{
			p->units = (p->count + UNIT_VALUES - 1) / UNIT_VALUES;
			p->gradient = head->dense;
			head->dense += (p->count + 15) / 16 * 16;
		}
		units += p->units;
	}
	head->units = units;
	head->squares = take(place, units, 1, sizeof(double));
	for (size_t s = 0; s < DS_SHARDS; s++)
		head->slot[s] = take(place, head->dense, 1, sizeof(ds_real));
	head->sum =
		head->config.accumulate > 1 ? take(place, head->dense, 1, sizeof(ds_real)) : head->slot[0];
}

static void
place_rows(BlockHeader *head, const BlockParameter *parameter, Place *place)
{
	/* what the cut by tokens can leave to one shard; beside pictures the cut is another one */
	bool pictures = has_pictures(&head->net.tower[0]) || has_pictures(&head->net.tower[1]);
	uint64_t tokens =
		pictures ? head->limits.tokens : head->limits.tokens / DS_SHARDS + head->limits.longest + 1;

	for (uint64_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &parameter[i];
		size_t t = p->tower;

		if (!p->sparse || p->frozen)
			continue;
		if (has_bag(&head->net.tower[t]))
		{
			uint64_t texts = head->limits.pairs + head->limits.documents;

			head->bag_ids[t] = take(place, head->limits.tokens, 1, sizeof(uint32_t));
			head->bag_texts[t] = take(place, texts, 1, sizeof(BagText));
			head->bag_d[t] = take(place, texts, p->shape[1], sizeof(ds_real));
			continue;
		}
		head->row_room[t] = smaller(smaller(tokens, head->limits.tokens), p->shape[0]);
		for (size_t s = 0; s < DS_SHARDS; s++)
		{
			head->rows[s][t] = take(place, head->row_room[t], 1, sizeof(uint32_t));
			head->d_rows[s][t] = take(place, head->row_room[t], p->shape[1], sizeof(ds_real));
		}
	}
}

static void
place_vectors(BlockHeader *head, Place *place)
{
	const DsTrainLimits *limits = &head->limits;
	bool dual = head->net.kind == DS_NET_DUAL;

	if (dual)
		head->query = take(place, limits->pairs, head->dims, sizeof(ds_real));
	head->document = take(place, limits->documents, head->dims, sizeof(ds_real));
	if (!in_batch(head->config.loss))
		return;
	for (size_t s = 0; s < DS_SHARDS; s++)
	{
		head->d_document[s] = take(place, limits->documents, head->dims, sizeof(ds_real));
		if (both_ways(&head->config))
			head->d_query[s] = take(place, limits->pairs, head->dims, sizeof(ds_real));
	}
}

/*
 * Everything that follows from net, config and limits.  parameter[] holds the list
 * (list_parameters()).
 */
static DsCode
place_all(BlockHeader *head, BlockParameter *parameter, DsStatus *status)
{
	Place place = {0, false};

	take(&place, 1, sizeof(BlockHeader), 1);
	head->parameter = take(&place, head->parameters, sizeof(BlockParameter), 1);
	head->values = place.at;
	for (uint64_t i = 0; i < head->parameters; i++)
		parameter[i].value = take(&place, parameter[i].count, 1, sizeof(ds_real));
	for (uint64_t k = 0; k < head->states; k++)
		for (uint64_t i = 0; i < head->parameters; i++)
			if (!parameter[i].frozen)
				parameter[i].state[k] = take(&place, parameter[i].count, 1, sizeof(ds_real));
	head->persistent = place.at - head->values;
	place_gradients(head, parameter, &place);
	place_rows(head, parameter, &place);
	place_vectors(head, &place);
	head->size = place.at;
	if (place.overflow)
		return ds_fail(status, DS_TOO_LARGE, "the model and its batches are too large to train");
	return DS_OK;
}

static DsCode
make_header(const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
			BlockHeader *head, DsStatus *status)
{
	DsCode code = ds_net_check(net, status);

	if (code == DS_OK)
		code = ds_train_check(config, status);
	if (code == DS_OK)
		code = ds_train_check_net(config, net, status);
	if (code != DS_OK)
		return code;
	if (limits->pairs < 1 || limits->documents < limits->pairs ||
		limits->documents > 64 * (size_t) DS_TRAIN_BATCH_MAX || limits->tokens > UINT32_MAX ||
		limits->longest > limits->tokens)
		return ds_fail(status, DS_INVALID, "the limits of batches make no sense");
	memset(head, 0, sizeof(*head));
	snprintf(head->identity, sizeof(head->identity), "%s", IDENTITY);
	head->net = *net;
	if (net->shared || net->kind == DS_NET_SINGLE)
		head->net.tower[1] = net->tower[0];
	head->config = *config;
	head->limits = *limits;
	head->dims = ds_net_dims(net);
	head->states =
		config->optimizer.kind == DS_OPTIMIZER_SGD ? (config->optimizer.momentum > 0 ? 1 : 0) : 2;
	head->parameters = list_parameters(&head->net, config, NULL);
	return DS_OK;
}

DsCode
ds_trainer_size(const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
				size_t *size, DsStatus *status)
{
	BlockHeader head;
	DsArena arena;
	BlockParameter *parameter;
	DsCode code = make_header(net, config, limits, &head, status);

	if (code != DS_OK)
		return code;
	ds_arena_init(&arena, NULL);
	parameter = ds_arena_alloc(&arena, head.parameters, sizeof(*parameter));
	if (parameter == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	list_parameters(&head.net, config, parameter);
	code = place_all(&head, parameter, status);
	ds_arena_free(&arena);
	*size = head.size;
	return code;
}

DsCode
ds_trainer_format(void *block, size_t size, const DsNet *net, const DsTrainConfig *config,
				  const DsTrainLimits *limits, DsStatus *status)
{
	BlockHeader *head = block;
	BlockParameter *parameter;
	size_t needed;
	DsCode code = ds_trainer_size(net, config, limits, &needed, status);

	if (code != DS_OK)
		return code;
	if (size < needed)
		return ds_fail(status, DS_INVALID, "a block of %zu bytes is too small for the trainer",
					   size);
	code = make_header(net, config, limits, head, status);
	if (code != DS_OK)
		return code;
	ds_prefer_large_pages(block, size);
	/* where place_all() will put it */
	parameter = (BlockParameter *) (void *) ((char *) block + (sizeof(*head) + 63) / 64 * 64);
	list_parameters(&head->net, config, parameter);
	code = place_all(head, parameter, status);
	if (code == DS_OK && net->kind == DS_NET_DUAL)
		*(ds_real *) (void *) ((char *) block + parameter[head->parameters - 1].value) =
			(ds_real) -log(config->temperature);
	return code;
}

/* For the largest batch; what none needs stays untouched, and costs nothing */
static bool
reserve_rows(DsTrainer *trainer, const BlockParameter *p, BagRows *bag)
{
	size_t tokens = trainer->head->limits.tokens;
	size_t most = smaller(tokens, p->shape[0]);

	bag->rows = ds_arena_alloc(trainer->arena, most, sizeof(uint32_t));
	bag->offsets = ds_arena_alloc(trainer->arena, most + 1, sizeof(uint32_t));
	bag->texts = ds_arena_alloc(trainer->arena, tokens, sizeof(uint32_t));
	bag->gradient = ds_arena_alloc(trainer->arena, most, p->shape[1] * sizeof(ds_real));
	bag->own = ds_arena_alloc(trainer->arena, tokens, sizeof(BagFeature));
	return bag->rows != NULL && bag->offsets != NULL && bag->texts != NULL &&
		   bag->gradient != NULL && bag->own != NULL;
}

DsCode
ds_trainer_attach(void *block, size_t size, DsArena *arena, DsTrainer **result, DsStatus *status)
{
	BlockHeader *head = block;
	DsTrainer *trainer;
	uint64_t widest = 0;

	if (size < sizeof(*head) || strcmp(head->identity, IDENTITY) != 0 || head->size > size)
		return ds_fail(status, DS_BAD_DATA, "the block is not a trainer's");
	trainer = ds_arena_zero(arena, 1, sizeof(*trainer));
	if (trainer == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	trainer->block = block;
	trainer->head = head;
	trainer->parameter = (BlockParameter *) (void *) (trainer->block + head->parameter);
	trainer->arena = arena;
	trainer->first[0] = trainer->first[1] = trainer->scale = DS_NO_PARAMETER;
	for (size_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];

		if (p->tower == 2)
		{
			trainer->scale = i;
			continue;
		}
		if (trainer->first[p->tower] == DS_NO_PARAMETER)
			trainer->first[p->tower] = i;
		trainer->trains[p->tower] = trainer->trains[p->tower] || !p->frozen;
		if (!p->sparse || p->frozen)
			continue;
		trainer->places[p->tower] = ds_arena_zero(arena, p->shape[0], sizeof(uint32_t));
		trainer->bits[p->tower] = ds_arena_zero(arena, p->shape[0] / 64 + 1, sizeof(uint64_t));
		trainer->zeros = trainer->zeros != NULL && p->shape[1] <= widest
							 ? trainer->zeros
							 : ds_arena_zero(arena, p->shape[1], sizeof(ds_real));
		widest = p->shape[1] > widest ? p->shape[1] : widest;
		if (trainer->places[p->tower] == NULL || trainer->bits[p->tower] == NULL ||
			trainer->zeros == NULL ||
			(has_bag(&head->net.tower[p->tower]) &&
			 !reserve_rows(trainer, p, &trainer->bag[p->tower])))
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	}
	trainer->steps = head->steps;
	*result = trainer;
	return DS_OK;
}

/*
 * Looking at it
 */

const DsNet *
ds_trainer_net(const DsTrainer *trainer)
{
	return &trainer->head->net;
}

const DsTrainConfig *
ds_trainer_config(const DsTrainer *trainer)
{
	return &trainer->head->config;
}

size_t
ds_trainer_parameters(const DsTrainer *trainer)
{
	return trainer->head->parameters;
}

DsTrained
ds_trainer_parameter(const DsTrainer *trainer, size_t number)
{
	const BlockParameter *p = &trainer->parameter[number];

	return (DsTrained){.name = p->name,
					   .shape_count = p->shape_count,
					   .shape = {p->shape[0], p->shape[1]},
					   .count = p->count,
					   .sparse = p->sparse,
					   .frozen = p->frozen,
					   .value = parameter_value(trainer, number)};
}

size_t
ds_trainer_find(const DsTrainer *trainer, const char *name)
{
	for (size_t i = 0; i < trainer->head->parameters; i++)
		if (strcmp(trainer->parameter[i].name, name) == 0)
			return i;
	return DS_NO_PARAMETER;
}

size_t
ds_trainer_states(const DsTrainer *trainer)
{
	return trainer->head->states;
}

ds_real *
ds_trainer_state(const DsTrainer *trainer, size_t parameter, size_t k)
{
	const BlockParameter *p = &trainer->parameter[parameter];

	return p->frozen ? NULL : block_reals(trainer, p->state[k]);
}

uint64_t
ds_trainer_steps(const DsTrainer *trainer)
{
	return trainer->head->steps;
}

void
ds_trainer_set_steps(DsTrainer *trainer, uint64_t steps)
{
	trainer->head->steps = trainer->steps = steps;
}

bool
ds_trainer_dual_encoder(DsTrainer *trainer, DsDualEncoder *encoder)
{
	const DsNet *net = &trainer->head->net;
	DsDualEncoderConfig config = {.shared = net->shared, .score = net->score};

	if (net->kind != DS_NET_DUAL)
		return false;
	for (size_t t = 0; t < 2; t++)
	{
		if (tower_transformer(&net->tower[t]) != NULL)
			return false;
		config.tower[t] = net->tower[t].bag;
		config.tower[t].features = net->tower[t].body == DS_BODY_FEATURES;
	}
	if (ds_dual_encoder_plan(&config, encoder, NULL) != DS_OK)
		return false;
	/* both list the same parameters in the same order */
	for (size_t i = 0; i < encoder->parameter_count; i++)
		encoder->parameter[i].value = parameter_value(trainer, i);
	return true;
}
