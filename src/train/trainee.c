/*
 * trainee.c
 *		What a training trains: what all kinds of models have in common.
 */
#include "train/trainee.h"

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

/* A key that is there means nothing to models of this kind. */
static void
refuse_option(Jsonb *options, const char *key, const char *why, const char *hint)
{
	JsonbValue place;

	if (JB_ROOT_IS_OBJECT(options) &&
		getKeyJsonValueFromContainer(&options->root, key, strlen(key), &place) != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" %s", key, why), errhint("%s", hint)));
}

/* Is a tower a transformer? */
static bool
has_transformer(const DsTrainee *trainee)
{
	const DsImportedConfig *config = &trainee->pretrained;

	return trainee->kind == &ds_trainee_encoder &&
		   (config->texts || config->image.kind == DS_IMAGE_VIT);
}

/* Is it an imported convolutional network? */
static bool
has_convolutions(const DsTrainee *trainee)
{
	return trainee->kind == &ds_trainee_encoder && trainee->pretrained.images &&
		   trainee->pretrained.image.kind == DS_IMAGE_CONV;
}

/* What models of this kind have no use for */
static void
refuse_options(const DsTrainee *trainee, Jsonb *options)
{
	static const char *const layered[] = {"dropout", "layer_decay", "cache_texts"};
	bool bag = trainee->kind == &ds_trainee_bag;
	bool images = ds_trainee_images(trainee);

	if (!images)
		refuse_option(options, "on_error", "is for models that read pictures",
					  "This one reads none.");
	for (int i = 0; i < 2 && (bag || !images); i++)
		refuse_option(options, i == 0 ? "mirror" : "move",
					  "is for imported models that read pictures",
					  !images  ? "This one reads none."
					  : i == 0 ? "The config of this one says it: \"image.mirror\"."
							   : "The config of this one says it: \"image.move\".");
	if (!has_convolutions(trainee))
		refuse_option(options, "batch_moments", "is for imported convolutional networks",
					  "This model has none.");
	if (bag)
		refuse_option(options, "dropout", "is for transformers",
					  "A model of embedding bags has \"feature_dropout\".");
	else
	{
		for (size_t i = 0; i < lengthof(layered) && !has_transformer(trainee); i++)
			refuse_option(options, layered[i], "is for transformers",
						  "This is a convolutional network.");
		refuse_option(options, "feature_dropout", "is for models of embedding bags",
					  has_transformer(trainee) ? "A transformer has \"dropout\"."
											   : "This is a convolutional network.");
	}
	if (ds_trainee_features(trainee))
		refuse_option(options, "feature_dropout", "is for models of embedding bags",
					  "This one takes features.");
}

void
ds_trainee_find(DsTrainee *trainee, const char *name, Jsonb *options, DsRunOptions *run)
{
	trainee->name = name;
	trainee->context = CurrentMemoryContext;
	ds_server_arena(&trainee->arena, trainee->context);
	trainee->kind = &ds_trainee_bag;
	trainee->exists = ds_model_find(name, &trainee->row);
	if (trainee->exists)
	{
		ds_model_find_owned(name, &trainee->row);
		if (ds_config_is_imported(trainee->row.config))
			trainee->kind = &ds_trainee_encoder;
	}
	ds_run_options_init(run);
	trainee->kind->find(trainee, run);
	ds_run_options_read(options, run);
	refuse_options(trainee, options);
	trainee->bad_is_none = run->on_error == DS_ON_ERROR_NULL;
	trainee->dropout = run->dropout;
	trainee->mirror = run->mirror;
	trainee->move = run->move;
	if (run->from_scratch && has_convolutions(trainee))
	{
		if (!run->batch_moments)
			refuse_option(options, "batch_moments", "cannot be false with \"from_scratch\"",
						  "Random weights have no averages that batch norm could keep.");
		run->batch_moments = true;
	}
	trainee->batch_moments = run->batch_moments;
	trainee->loss = run->training.train.loss;
	/* a tower that is trained apart from the other one becomes one of its own */
	if (tells_towers(&run->training.train))
		trainee->kind->split(trainee);
}

void
ds_trainee_open_start(DsTrainee *trainee)
{
	DsModelKey key = {trainee->row.id, trainee->row.version};

	trainee->start = ds_model_open(key);
	ds_model_pin(trainee->start);
}

void
ds_trainee_open(DsTrainee *trainee, const DsRunOptions *run)
{
	trainee->fresh = !trainee->exists || trainee->row.version == 0 || run->from_scratch;
	for (uint32_t i = 0; i < run->training.train.rule_count && trainee->fresh; i++)
		if (run->training.train.rules[i].factor == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"freeze\" needs a version of model \"%s\" to begin with",
							trainee->name),
					 errdetail("What is frozen would keep its random first weights.")));
	trainee->kind->open(trainee);
}

void
ds_trainee_close(DsTrainee *trainee)
{
	if (trainee->start != NULL)
		ds_model_unpin(trainee->start);
	trainee->start = NULL;
}

bool
ds_trainee_features(const DsTrainee *trainee)
{
	return trainee->kind == &ds_trainee_bag && ds_config_features(&trainee->config);
}

static bool
reads_images(const DsTrainee *trainee, DsSide side)
{
	DsSpoolKind kind = trainee->kind->reads(trainee, side);

	return kind == DS_SPOOL_IMAGE || kind == DS_SPOOL_BOTH;
}

bool
ds_trainee_images(const DsTrainee *trainee)
{
	return reads_images(trainee, DS_SIDE_QUERY) || reads_images(trainee, DS_SIDE_DOCUMENT);
}

/* A store of pictures for each tower that reads such */
static void
make_pictures(DsTrainee *trainee)
{
	for (int s = 0; s < 2; s++)
	{
		DsImageTransform transform;

		if (!reads_images(trainee, s))
			continue;
		trainee->kind->transform(trainee, s, &transform);
		/* imported models that read pictures on both sides have one network for them */
		trainee->pictures[s] =
			s == 1 && trainee->pictures[0] != NULL &&
					(trainee->kind == &ds_trainee_encoder || trainee->config.shared)
				? trainee->pictures[0]
				: ds_pictures_create(&transform);
	}
}

DsPairs *
ds_trainee_pairs(DsTrainee *trainee, const char *sql, int64 *rows, int64 *skipped, int64 *bad)
{
	DsSpool *source = ds_spool_create(trainee->kind->reads(trainee, DS_SIDE_QUERY),
									  trainee->kind->reads(trainee, DS_SIDE_DOCUMENT));
	DsPairs *pairs;

	make_pictures(trainee);
	source->pictures[0] = trainee->pictures[0];
	source->pictures[1] = trainee->pictures[1];
	source->bad_is_none = trainee->bad_is_none;
	source->parameters = trainee->parameters;
	pairs = trainee->kind->pairs(trainee, source, sql);
	*bad = source->bad;
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

void
ds_trainee_load(DsTrainee *trainee, DsTrainer *trainer)
{
	check_rules(trainer);
	ds_trainer_initialize(trainer);
	if (!trainee->fresh)
		trainee->kind->load(trainee, trainer);
}

/* ---- versions ---- */

/* What is frozen has begun with the weights of a version: see ds_trainee_open(). */
bool
ds_trainee_same(const DsTrainee *trainee pg_attribute_unused(), const DsTrainer *trainer,
				DsSide side)
{
	const char *tower = side == DS_SIDE_QUERY ? "query" : "document";

	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		if (!parameter.frozen &&
			(names_tower(parameter.name, tower) || names_tower(parameter.name, "shared") ||
			 names_tower(parameter.name, "model")))
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
	DsTensorData *tensors = palloc0(sizeof(DsTensorData) * parameters);
	int count = 0;
	DsModelKey key;

	trainee->kind->describe(trainee, &row);
	row.dims = (int32) ds_net_dims(&trainee->net);
	row.source = source;
	for (size_t i = 0; i < parameters; i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);
		DsTensorData *tensor = &tensors[count];

		tensor->name = parameter.name;
		tensor->shape_count = (int) parameter.shape_count;
		for (uint32 d = 0; d < parameter.shape_count; d++)
			tensor->shape[d] = (int64) parameter.shape[d];
		if (!trainee->kind->stored(trainee, tensor))
			continue;
		count++;
		tensor->dtype = DS_DTYPE_F32;
		tensor->data = values != NULL && values[i] != NULL ? values[i] : parameter.value;
		tensor->bytes = sizeof(float) * parameter.count;
		row.parameters += (int64) parameter.count;
		row.bytes += (int64) tensor->bytes;
	}
	row.same[DS_SIDE_QUERY] = ds_trainee_same(trainee, trainer, DS_SIDE_QUERY);
	row.same[DS_SIDE_DOCUMENT] = ds_trainee_same(trainee, trainer, DS_SIDE_DOCUMENT);
	key = ds_version_insert(trainee->exists ? trainee->row.id
											: ds_model_create(trainee->name, row.config, row.dims),
							trainee->name, &row);
	trainee->kind->write_tokenizers(trainee, key);
	ds_store_write(key, tensors, count);
	return key;
}

/* ---- checkpoints ---- */

void
ds_trainee_save(const DsTrainee *trainee, DsModelKey key)
{
	trainee->kind->save(trainee, key);
}

void
ds_trainee_restore(DsTrainee *trainee, DsReader *reader)
{
	/* the weights come from the checkpoint too */
	trainee->fresh = true;
	trainee->kind->restore(trainee, reader);
}
