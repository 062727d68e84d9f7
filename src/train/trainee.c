/*
 * trainee.c
 *		What a training trains.
 */
#include "train/trainee.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "model/create.h"
#include "model/version.h"

/* ---- the model ---- */

static bool
names_tower(const char *prefix, const char *tower)
{
	size_t length = strlen(tower);

	return strncmp(prefix, tower, length) == 0 && (prefix[length] == '\0' || prefix[length] == '.');
}

/* Does a rule tell the towers apart? */
static bool
tells_towers(const DsTrainConfig *config)
{
	for (uint32_t i = 0; i < config->rule_count; i++)
		if (names_tower(config->rules[i].prefix, "query") ||
			names_tower(config->rules[i].prefix, "document"))
			return true;
	return false;
}

void
ds_trainee_find(DsTrainee *trainee, const char *name, Jsonb *options, DsRunOptions *run)
{
	trainee->name = name;
	trainee->context = CurrentMemoryContext;
	ds_server_arena(&trainee->arena, trainee->context);
	trainee->exists = ds_model_find(name, &trainee->row);
	if (trainee->exists)
	{
		ds_model_find_owned(name, &trainee->row);
		if (ds_config_is_imported(trainee->row.config))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("model \"%s\" was imported and cannot be trained", name)));
		ds_config_read(trainee->row.config, &trainee->config);
	}
	else
		ds_config_read(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))),
					   &trainee->config);
	run->training = trainee->config.training;
	ds_run_options_read(options, run);
	/* a tower that is trained apart from the other one becomes one of its own */
	if (trainee->config.shared && tells_towers(&run->training.train))
	{
		trainee->split = true;
		trainee->config.shared = false;
		trainee->config.tower[1] = trainee->config.tower[0];
		trainee->config.tokenizer[1] = trainee->config.tokenizer[0];
	}
}

void
ds_trainee_open(DsTrainee *trainee, const DsRunOptions *run)
{
	if (!trainee->exists || trainee->row.version == 0 || run->from_scratch)
	{
		for (uint32_t i = 0; i < run->training.train.rule_count; i++)
			if (run->training.train.rules[i].factor == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("option \"freeze\" needs a version of model \"%s\" to begin with",
								trainee->name),
						 errdetail("What is frozen would keep its random first weights.")));
		return;
	}
	{
		DsModelKey key = {trainee->row.id, trainee->row.version};

		trainee->start = ds_model_open(key);
		ds_model_pin(trainee->start);
	}
}

void
ds_trainee_close(DsTrainee *trainee)
{
	if (trainee->start != NULL)
		ds_model_unpin(trainee->start);
	trainee->start = NULL;
}

/* ---- from texts to tokens ---- */

typedef struct Learners
{
	DsTokenizerLearner *learner[2];
} Learners;

static void
learn(void *context, const DsSpoolRow *row)
{
	Learners *learners = context;

	for (uint32 i = 0; i <= row->documents; i++)
	{
		DsStatus status;

		ds_check(ds_tokenizer_learn_add(learners->learner[i > 0], row->text[i].data,
										row->text[i].length, &status),
				 &status);
	}
}

static void
read_text(void *context, const DsSpoolRow *row, uint32 i, DsTokens *tokens)
{
	DsTrainee *trainee = context;
	int side = i > 0;
	DsTokenScratch *scratch = &trainee->scratch[side];

	tokens->count = ds_tokenizer_encode(&trainee->tokenizer[side], scratch, row->text[i].data,
										row->text[i].length);
	tokens->ids = scratch->ids;
	tokens->key =
		hash_bytes_extended((unsigned char *) scratch->clean, (int) scratch->clean_length, 0);
}

static void
open_tokenizers(DsTrainee *trainee)
{
	int towers = ds_config_towers(&trainee->config);
	DsStatus status;

	for (int i = 0; i < towers; i++)
	{
		ds_check(ds_tokenizer_open(&trainee->tokenizer[i], trainee->tokenizer_blob[i],
								   trainee->tokenizer_size[i], &status),
				 &status);
		ds_check(ds_tokenizer_scratch(&trainee->tokenizer[i], &trainee->arena, &trainee->scratch[i],
									  &status),
				 &status);
		trainee->scratch[i].cancel = &ds_server_cancel;
	}
	if (towers == 1)
	{
		trainee->tokenizer[1] = trainee->tokenizer[0];
		trainee->scratch[1] = trainee->scratch[0];
	}
}

static void
plan_net(DsTrainee *trainee)
{
	uint32_t vocabulary[2] = {trainee->tokenizer[0].vocabulary, trainee->tokenizer[1].vocabulary};
	DsDualEncoderConfig encoder = ds_config_encoder(&trainee->config, vocabulary);

	memset(&trainee->net, 0, sizeof(trainee->net));
	trainee->net.kind = DS_NET_DUAL;
	trainee->net.shared = encoder.shared;
	trainee->net.score = encoder.score;
	for (int i = 0; i < 2; i++)
	{
		trainee->net.tower[i].body = DS_BODY_BAG;
		trainee->net.tower[i].bag = encoder.tower[i];
	}
}

DsPairs *
ds_trainee_pairs(DsTrainee *trainee, const char *sql, int64 *rows, int64 *skipped)
{
	int towers = ds_config_towers(&trainee->config);
	bool learns = trainee->start == NULL && trainee->tokenizer_blob[0] == NULL;
	DsSpool *source = ds_spool_create(DS_SPOOL_TEXT);
	MemoryContext learning_context =
		AllocSetContextCreate(trainee->context, "deepsearch vocabulary", ALLOCSET_DEFAULT_SIZES);
	DsTextReader reader = {trainee, read_text, false};
	Learners learners = {{NULL, NULL}};
	DsPairs *pairs;
	DsStatus status;
	DsArena learning;

	ds_server_arena(&learning, learning_context);
	for (int i = 0; i < towers && learns; i++)
	{
		DsTokenizerConfig config = trainee->config.tokenizer[i];

		config.learn_memory = (size_t) maintenance_work_mem * 1024 / (size_t) towers;
		ds_check(ds_tokenizer_learn_begin(&config, &learning, &learners.learner[i], &status),
				 &status);
	}
	if (towers == 1)
		learners.learner[1] = learners.learner[0];
	ds_spool_read(source, sql, learns ? learn : NULL, &learners);

	for (int i = 0; i < towers; i++)
	{
		if (learns)
		{
			void *blob;

			ds_check(ds_tokenizer_learn_finish(learners.learner[i], &trainee->arena, &blob,
											   &trainee->tokenizer_size[i], &status),
					 &status);
			trainee->tokenizer_blob[i] = blob;
		}
		else if (trainee->start != NULL)
		{
			trainee->tokenizer_blob[i] = trainee->start->tokenizer_blob[i];
			trainee->tokenizer_size[i] = trainee->start->tokenizer_size[i];
		}
	}
	MemoryContextDelete(learning_context);
	open_tokenizers(trainee);
	plan_net(trainee);
	pairs = ds_pairs_create(source, &reader);
	*rows = source->rows;
	*skipped = source->skipped + pairs->skipped;
	ds_spool_close(source);
	return pairs;
}

/* ---- weights ---- */

static bool
rule_fits(const char *prefix, const char *name)
{
	size_t length;

	if (prefix[0] == '*')
	{
		const char *dot = strchr(name, '.');

		if (prefix[1] == '\0')
			return true;
		if (prefix[1] != '.' || dot == NULL)
			return false;
		prefix += 2;
		name = dot + 1;
	}
	length = strlen(prefix);
	return strncmp(prefix, name, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

static void
check_rules(DsTrainer *trainer)
{
	const DsTrainConfig *config = ds_trainer_config(trainer);
	size_t count = ds_trainer_parameters(trainer);

	for (uint32_t r = 0; r < config->rule_count; r++)
	{
		StringInfoData names;
		bool fits = false;

		initStringInfo(&names);
		for (size_t i = 0; i < count; i++)
		{
			const char *name = ds_trainer_parameter(trainer, i).name;

			fits = fits || rule_fits(config->rules[r].prefix, name);
			appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", name);
		}
		if (!fits)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\": the model has no part \"%s\"",
								   config->rules[r].factor == 0 ? "freeze" : "rates",
								   config->rules[r].prefix),
							errhint("Its parameters are: %s.", names.data)));
	}
}

/* The value of a parameter in the version that is continued, or NULL */
static const float *
start_value(DsTrainee *trainee, const char *name)
{
	DsParameter *parameter;

	if (trainee->split)
	{
		const char *dot = strchr(name, '.');

		if (dot != NULL)
			name = psprintf("shared%s", dot);
	}
	parameter = ds_dual_encoder_parameter(&trainee->start->encoder, name);
	return parameter == NULL ? NULL : parameter->value;
}

void
ds_trainee_load(DsTrainee *trainee, DsTrainer *trainer)
{
	size_t count = ds_trainer_parameters(trainer);

	check_rules(trainer);
	ds_trainer_initialize(trainer);
	for (size_t i = 0; i < count && trainee->start != NULL; i++)
	{
		DsTrained to = ds_trainer_parameter(trainer, i);
		const float *from;

		/* the temperature is an option of each training */
		if (strcmp(to.name, "log_scale") == 0)
			continue;
		from = start_value(trainee, to.name);
		if (from == NULL)
			elog(ERROR, "model \"%s\" has no parameter \"%s\"", trainee->name, to.name);
		memcpy(to.value, from, sizeof(float) * to.count);
	}
}

/* ---- versions ---- */

static DsTensorData
tokenizer_tensor(const DsTrainee *trainee, int tower)
{
	DsTensorData tensor = {0};

	tensor.name = psprintf("%s.tokenizer", ds_config_tower_name(&trainee->config, tower));
	tensor.dtype = DS_DTYPE_U8;
	tensor.shape_count = 1;
	tensor.shape[0] = (int64) trainee->tokenizer_size[tower];
	tensor.data = trainee->tokenizer_blob[tower];
	tensor.bytes = trainee->tokenizer_size[tower];
	return tensor;
}

bool
ds_trainee_same(const DsTrainee *trainee, const DsTrainer *trainer, DsSide side)
{
	const char *tower = side == DS_SIDE_QUERY ? "query" : "document";

	if (trainee->start == NULL)
		return false;
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		if (!parameter.frozen &&
			(names_tower(parameter.name, tower) || names_tower(parameter.name, "shared")))
			return false;
	}
	return true;
}

DsModelKey
ds_trainee_write(DsTrainee *trainee, DsTrainer *trainer, float *const *values, int32 run,
				 const char *source, int64 pairs)
{
	DsVersionRow row = {.precision = "f32", .pairs = pairs, .run = run};
	size_t parameters = ds_trainer_parameters(trainer);
	DsTensorData *tensors = palloc0(sizeof(DsTensorData) * (parameters + 2));
	int count = 0;
	int32 dims = (int32) ds_net_dims(&trainee->net);
	DsModelKey key;

	for (int i = 0; i < ds_config_towers(&trainee->config); i++)
		tensors[count++] = tokenizer_tensor(trainee, i);
	for (size_t i = 0; i < parameters; i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);
		DsTensorData *tensor = &tensors[count++];

		tensor->name = parameter.name;
		tensor->dtype = DS_DTYPE_F32;
		tensor->shape_count = (int) parameter.shape_count;
		for (uint32 d = 0; d < parameter.shape_count; d++)
			tensor->shape[d] = (int64) parameter.shape[d];
		tensor->data = values != NULL && values[i] != NULL ? values[i] : parameter.value;
		tensor->bytes = sizeof(float) * parameter.count;
		row.parameters += (int64) parameter.count;
	}
	for (int i = 0; i < count; i++)
		row.bytes += (int64) tensors[i].bytes;
	row.config = ds_config_write(&trainee->config);
	row.dims = dims;
	row.source = source;
	row.same[DS_SIDE_QUERY] = ds_trainee_same(trainee, trainer, DS_SIDE_QUERY);
	row.same[DS_SIDE_DOCUMENT] = ds_trainee_same(trainee, trainer, DS_SIDE_DOCUMENT);
	key = ds_version_insert(
		trainee->exists ? trainee->row.id
						: ds_model_create(trainee->name, ds_config_write(&trainee->config), dims),
		trainee->name, &row);
	ds_store_write(key, tensors, count);
	return key;
}

/* ---- checkpoints ---- */

void
ds_trainee_save(const DsTrainee *trainee, DsModelKey key)
{
	for (int i = 0; i < ds_config_towers(&trainee->config); i++)
	{
		DsTensorData tensor = tokenizer_tensor(trainee, i);

		ds_store_write(key, &tensor, 1);
	}
}

void
ds_trainee_restore(DsTrainee *trainee, DsReader *reader)
{
	for (int i = 0; i < ds_config_towers(&trainee->config); i++)
	{
		DsStored stored;
		char *blob;

		ds_reader_need(reader, tokenizer_tensor(trainee, i).name, &stored);
		blob = MemoryContextAllocHuge(trainee->context, stored.bytes);
		for (uint64 offset = 0; offset < stored.bytes;)
		{
			size_t size;
			const char *bytes = ds_reader_bytes(reader, &stored, offset, &size);

			memcpy(blob + offset, bytes, size);
			offset += size;
		}
		trainee->tokenizer_blob[i] = blob;
		trainee->tokenizer_size[i] = stored.bytes;
	}
}
