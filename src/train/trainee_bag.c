/*
 * trainee_bag.c
 *		Training of dual encoders of embedding bags, whose tokenizers are learned
 *		from the first source, and of those of dense heads on given features.
 */
#include "train/trainee.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "model/stored_source.h"
#include "model/version.h"

static void
find(DsTrainee *trainee, DsRunOptions *run)
{
	Jsonb *config = trainee->exists
						? trainee->row.config
						: DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));

	ds_config_read(config, &trainee->config);
	run->training = trainee->config.training;
	/* each picture of a batch costs as much as all else, so pairs that share one stand together */
	run->duplicates =
		ds_config_images(&trainee->config) ? DS_DUPLICATES_TOGETHER : DS_DUPLICATES_AVOID;
}

static DsSpoolKind
reads(const DsTrainee *trainee, DsSide side)
{
	if (ds_trainee_features(trainee))
		return DS_SPOOL_FEATURES;
	if (!ds_config_has_images(&trainee->config, side))
		return DS_SPOOL_TEXT;
	return ds_config_has_texts(&trainee->config, side) ? DS_SPOOL_BOTH : DS_SPOOL_IMAGE;
}

static void
transform(const DsTrainee *trainee, DsSide side, DsImageTransform *out)
{
	ds_config_transform(&trainee->config, side, out);
}

static void
split(DsTrainee *trainee)
{
	if (!trainee->config.shared)
		return;
	trainee->split = true;
	trainee->config.shared = false;
	trainee->config.tower[1] = trainee->config.tower[0];
	trainee->config.tokenizer[1] = trainee->config.tokenizer[0];
	trainee->config.image[1] = trainee->config.image[0];
}

static void
open_bag(DsTrainee *trainee)
{
	if (!trainee->fresh)
		ds_trainee_open_start(trainee);
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

		if (learners->learner[i > 0] == NULL)
			continue;
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

	tokens->picture = row->picture[i];
	if (!ds_config_has_texts(&trainee->config, side))
	{
		tokens->key = ds_pictures_key(trainee->pictures[side], tokens->picture);
		return;
	}
	tokens->count = ds_tokenizer_encode(&trainee->tokenizer[side], scratch, row->text[i].data,
										row->text[i].length);
	tokens->ids = scratch->ids;
	tokens->key =
		hash_bytes_extended((unsigned char *) scratch->clean, (int) scratch->clean_length, 0);
	if (tokens->picture != DS_NO_PICTURE)
		tokens->key =
			hash_combine64(tokens->key, ds_pictures_key(trainee->pictures[side], tokens->picture));
}

static void
read_features(void *context pg_attribute_unused(), const DsSpoolRow *row, uint32 i,
			  DsTokens *tokens)
{
	DsText text = row->text[i];

	/* floats, for the trainer too */
	tokens->ids = (const uint32_t *) text.data;
	tokens->count = text.length / sizeof(float);
	tokens->key = hash_bytes_extended((const unsigned char *) text.data, (int) text.length, 0);
}

static void
open_tokenizers(DsTrainee *trainee)
{
	int towers = ds_config_towers(&trainee->config);
	DsStatus status;

	for (int i = 0; i < towers; i++)
	{
		if (!ds_config_has_texts(&trainee->config, i))
			continue;
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

	ds_config_net(&trainee->config, vocabulary, &trainee->net);
}

static DsPairs *
read_feature_pairs(DsTrainee *trainee, DsSpool *source, const char *sql)
{
	DsTextReader reader = {trainee, read_features, false};

	ds_spool_read(source, sql, NULL, NULL);
	for (int i = 0; i < 2; i++)
	{
		uint32 wanted = trainee->config.tower[trainee->config.shared ? 0 : i].embedding_dims;

		if (source->kept > 0 && source->dims[i] != wanted)
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
							errmsg("model \"%s\" takes %u features of a %s, not %u", trainee->name,
								   wanted, i == 0 ? "query" : "document", source->dims[i])));
	}
	plan_net(trainee);
	return ds_pairs_create(source, &reader);
}

static DsPairs *
read_pairs(DsTrainee *trainee, DsSpool *source, const char *sql)
{
	int towers = ds_config_towers(&trainee->config);
	bool learns = trainee->start == NULL && trainee->tokenizer_blob[0] == NULL &&
				  trainee->tokenizer_blob[1] == NULL;
	MemoryContext learning_context =
		AllocSetContextCreate(trainee->context, "deepsearch vocabulary", ALLOCSET_DEFAULT_SIZES);
	DsTextReader reader = {trainee, read_text, false};
	Learners learners = {{NULL, NULL}};
	DsStatus status;
	DsArena learning;

	if (ds_trainee_features(trainee))
		return read_feature_pairs(trainee, source, sql);
	ds_server_arena(&learning, learning_context);
	for (int i = 0; i < towers && learns; i++)
	{
		DsTokenizerConfig config = trainee->config.tokenizer[i];

		if (!ds_config_has_texts(&trainee->config, i))
			continue;
		config.learn_memory = (size_t) maintenance_work_mem * 1024 / (size_t) towers;
		ds_check(ds_tokenizer_learn_begin(&config, &learning, &learners.learner[i], &status),
				 &status);
	}
	if (towers == 1)
		learners.learner[1] = learners.learner[0];
	ds_spool_read(source, sql, learns ? learn : NULL, &learners);

	for (int i = 0; i < towers; i++)
	{
		if (!ds_config_has_texts(&trainee->config, i))
			continue;
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
	trainee->vocabulary =
		trainee->tokenizer[ds_config_has_texts(&trainee->config, 0) ? 0 : 1].vocabulary;
	return ds_pairs_create(source, &reader);
}

/* ---- weights ---- */

/* A parameter in the version that is continued, or NULL */
static const DsParameter *
start_parameter(DsTrainee *trainee, const char *name)
{
	if (trainee->split)
	{
		const char *dot = strchr(name, '.');

		if (dot != NULL)
			name = psprintf("shared%s", dot);
	}
	return ds_dual_encoder_parameter(&trainee->start->encoder, name);
}

/*
 * What reads pictures is served with batch norm folded into its weights, so the tables
 * have what a training goes on from.
 */
static void
load_stored(DsTrainee *trainee, DsTrainer *trainer)
{
	DsReader reader;

	PushActiveSnapshot(GetTransactionSnapshot());
	ds_reader_open(&reader, trainee->start->key);
	for (int t = 0; t < ds_config_towers(&trainee->config); t++)
	{
		DsStoredSource stored;
		DsTensorSource source = ds_stored_source(
			&stored, &reader, psprintf("%s.", ds_config_tower_name(&trainee->start->config, t)));
		DsStatus status;

		ds_guard_check(
			&stored.guard,
			ds_trainer_load(trainer, (size_t) t, &source, false, &ds_server_cancel, &status),
			&status);
	}
	ds_reader_close(&reader);
	PopActiveSnapshot();
}

static void
load(DsTrainee *trainee, DsTrainer *trainer)
{
	if (ds_trainee_images(trainee))
	{
		load_stored(trainee, trainer);
		return;
	}
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained to = ds_trainer_parameter(trainer, i);
		const DsParameter *from;

		/* the temperature is an option of each training */
		if (strcmp(to.name, "log_scale") == 0)
			continue;
		from = start_parameter(trainee, to.name);
		if (from == NULL)
			elog(ERROR, "model \"%s\" has no parameter \"%s\"", trainee->name, to.name);
		ds_parameter_read(from, 0, to.count, to.value);
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

static void
describe(const DsTrainee *trainee, DsVersionRow *row)
{
	row->config = ds_config_write(&trainee->config);
	for (int i = 0; i < ds_config_towers(&trainee->config); i++)
		row->bytes += (int64) trainee->tokenizer_size[i];
}

static bool
stored(const DsTrainee *trainee pg_attribute_unused(), DsTensorData *tensor pg_attribute_unused())
{
	return true;
}

static void
write_tokenizers(const DsTrainee *trainee, DsModelKey key)
{
	for (int i = 0; i < ds_config_towers(&trainee->config); i++)
	{
		DsTensorData tensor = tokenizer_tensor(trainee, i);

		if (!ds_config_has_texts(&trainee->config, i))
			continue;
		ds_store_write(key, &tensor, 1);
	}
}

static void
restore(DsTrainee *trainee, DsReader *reader)
{
	for (int i = 0; i < ds_config_towers(&trainee->config); i++)
	{
		DsStored stored;
		char *blob;

		if (!ds_config_has_texts(&trainee->config, i))
			continue;
		ds_reader_need(reader, tokenizer_tensor(trainee, i).name, &stored);
		blob = MemoryContextAllocHuge(trainee->context, stored.bytes);
		ds_reader_all(reader, &stored, blob);
		trainee->tokenizer_blob[i] = blob;
		trainee->tokenizer_size[i] = stored.bytes;
	}
}

const DsTraineeKind ds_trainee_bag = {find, reads, transform, split, open_bag, read_pairs, load,
									  describe, stored, write_tokenizers,
									  /* a checkpoint needs them: there may be no version yet */
									  write_tokenizers, restore};
