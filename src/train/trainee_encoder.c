/*
 * trainee_encoder.c
 *		Training of transformers, encoders and cross-encoders, whether their
 *		weights were imported or began at random; and of imported networks over
 *		pictures, alone or beside an encoder of texts (CLIP).
 *
 * Such a model always has a version to begin from, which has the tokenizer's
 * file, and that never changes.  A new version stands in the tables as an
 * imported one does, its tensors by their neutral names, in f32; what encodes
 * lays it out in the model's precision.  Where one tower of a shared encoder is
 * trained alone there are two of the same spec from then on, with the names of
 * the towers before those of the tensors.
 *
 * Where a model reads pictures alone, one network serves both sides.  Where it reads texts,
 * too, queries are the texts and documents the pictures: no tower is shared, and each has
 * the names of its tensors as they are at import.
 */
#include "train/trainee.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "model/delta.h"
#include "model/stored_source.h"
#include "model/version.h"

/* What fine-tuning begins with where nothing else is said: that of Hugging Face's trainer */
#define LEARNING_RATE 5e-5
#define WEIGHT_DECAY 0.01
#define EPOCHS 3
#define BATCH 32

#define SHAPE_CLIP \
	"It gives rows (text, picture) or (text, picture, wrong picture), and may have columns label and weight."
#define SHAPE_PICTURES \
	"It gives rows (picture, picture) or (picture, picture, wrong picture), and may have columns label and weight."

static void
find(DsTrainee *trainee, DsRunOptions *run)
{
	DsTrainOptions *training = &run->training;
	DsModelConfig defaults;

	ds_imported_config_read(trainee->row.config, &trainee->pretrained);
	ds_config_read(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))), &defaults);
	*training = defaults.training;
	training->epochs = EPOCHS;
	training->batch_size = BATCH;
	training->train.schedule.kind = DS_SCHEDULE_LINEAR;
	training->train.schedule.initial = LEARNING_RATE;
	training->train.schedule.minimum = 0;
	training->train.optimizer.weight_decay = WEIGHT_DECAY;
	run->duplicates = DS_DUPLICATES_AVOID;
	if (trainee->pretrained.images)
	{
		/* such networks were trained without dropout; captions know left from right, and letters */
		run->dropout = 0;
		run->mirror = !trainee->pretrained.texts;
	}
	if (trainee->pretrained.spec.scores > 0)
		training->train.loss =
			ds_spec_dims(&trainee->pretrained.spec) == 1 ? DS_LOSS_BINARY : DS_LOSS_CLASSES;
}

static DsSpoolKind
reads(const DsTrainee *trainee, DsSide side)
{
	bool image =
		trainee->pretrained.images && (side == DS_SIDE_DOCUMENT || !trainee->pretrained.texts);

	return image ? DS_SPOOL_IMAGE : DS_SPOOL_TEXT;
}

static void
transform(const DsTrainee *trainee, DsSide side pg_attribute_unused(), DsImageTransform *out)
{
	*out = trainee->pretrained.transform;
}

static void
split(DsTrainee *trainee)
{
	if (!trainee->pretrained.images)
		trainee->split = true;
	else if (!trainee->pretrained.texts)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("model \"%s\" has one network for the pictures of both sides",
							   trainee->name),
						errhint("The names of its parts begin with \"shared\".")));
}

/*
 * A cross-encoder may end in a logistic function, which the losses over logits
 * have themselves.  Those that compare numbers take what ds_score() gives.
 */
static void
leave_logits(DsEncoderSpec *spec, DsLoss loss)
{
	DsSpecModule *last;

	if (spec->scores == 0 || spec->module_count == 0 || loss == DS_LOSS_REGRESSION ||
		loss == DS_LOSS_MARGIN_MSE)
		return;
	last = &spec->modules[spec->module_count - 1];
	if (last->kind == DS_MODULE_DENSE && last->activation == DS_ACT_SIGMOID)
		last->activation = DS_ACT_IDENTITY;
}

static void
plan_text(const DsTrainee *trainee, DsTower *tower)
{
	tower->body = DS_BODY_TRANSFORMER;
	tower->spec = trainee->pretrained.spec;
	leave_logits(&tower->spec, trainee->loss);
	tower->dropout = trainee->dropout;
	tower->attention_dropout = trainee->dropout;
}

static void
plan_image(const DsTrainee *trainee, DsTower *tower)
{
	const DsImageTransform *how = &trainee->pretrained.transform;

	tower->body = DS_BODY_IMAGE;
	tower->image = trainee->pretrained.image;
	tower->dropout = trainee->dropout;
	tower->attention_dropout = trainee->dropout;
	tower->mirrors = trainee->mirror;
	tower->moves = trainee->move;
	tower->fixed_moments = !trainee->batch_moments;
	for (int c = 0; c < 3; c++)
	{
		/* pixel * scale - mean is (pixel / 255 - mean / (255 scale)) * 255 scale */
		tower->pixel_mean[c] = (double) how->mean[c] / (255 * how->scale);
		tower->pixel_deviation[c] = (double) how->deviation[c] / (255 * how->scale);
	}
}

static void
plan_net(DsTrainee *trainee)
{
	const DsImportedConfig *config = &trainee->pretrained;
	const DsEncoderSpec *spec = &config->spec;
	DsNet *net = &trainee->net;
	DsStatus status;
	DsCode code;

	memset(net, 0, sizeof(*net));
	net->kind = spec->scores > 0 ? DS_NET_SINGLE : DS_NET_DUAL;
	net->shared = !config->separate && !(config->texts && config->images);
	net->score = DS_SCORE_COSINE;
	for (int i = 0; i < 2; i++)
	{
		if (reads(trainee, i) == DS_SPOOL_IMAGE)
			plan_image(trainee, &net->tower[i]);
		else
			plan_text(trainee, &net->tower[i]);
	}
	code = ds_net_check(net, &status);
	if (code == DS_UNSUPPORTED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\": %s", trainee->name, status.message)));
	ds_check(code, &status);
	/* it would want a label for each output, and a source gives one for each document */
	if (net->kind == DS_NET_SINGLE && ds_net_dims(net) > 1 && trainee->loss == DS_LOSS_BINARY)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("loss \"binary\" is for a model of one output, and model \"%s\" has "
							   "%zu",
							   trainee->name, ds_net_dims(net)),
						errhint("Use the loss \"classes\".")));
}

static void
open_encoder(DsTrainee *trainee)
{
	if (trainee->row.version == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no version", trainee->name)));
	ds_trainee_open_start(trainee);
	/* the version's, which may be another one than the model's first */
	trainee->pretrained = trainee->start->pretrained;
	if (trainee->pretrained.spec.scores > 0 || trainee->pretrained.separate)
		trainee->split = false;
	else if (trainee->split)
		trainee->pretrained.separate = true;
	plan_net(trainee);
	trainee->vocabulary = trainee->pretrained.texts ? trainee->pretrained.spec.vocabulary : 0;
}

/* ---- from texts to tokens ---- */

static void
read_text(void *context, const DsSpoolRow *row, uint32 i, DsTokens *tokens)
{
	DsTrainee *trainee = context;
	bool joint = trainee->net.kind == DS_NET_SINGLE;
	DsText text = row->text[i];
	const uint32_t *ids;
	const uint8_t *types;
	uint32_t *typed;

	memset(tokens, 0, sizeof(*tokens));
	tokens->picture = row->picture[i];
	if (trainee->pictures[i > 0] != NULL)
	{
		tokens->key = ds_pictures_key(trainee->pictures[i > 0], tokens->picture);
		return;
	}
	tokens->key = hash_bytes_extended((const unsigned char *) text.data, (int) text.length, 0);
	if (joint ? i == 0 : text.length == 0)
		return;
	tokens->count =
		joint ? ds_imported_tokens(trainee->start, DS_SIDE_DOCUMENT, row->text[0], &text, &ids,
								   &types)
			  : ds_imported_tokens(trainee->start, i == 0 ? DS_SIDE_QUERY : DS_SIDE_DOCUMENT, text,
								   NULL, &ids, &types);
	typed = palloc(sizeof(uint32_t) * Max(tokens->count, 1));
	for (size_t j = 0; j < tokens->count; j++)
		typed[j] = ids[j] | (types[j] > 0 ? PG_UINT32_MAX ^ PG_INT32_MAX : 0);
	tokens->ids = typed;
	if (!joint)
		tokens->key = hash_bytes_extended((const unsigned char *) typed,
										  (int) (sizeof(uint32_t) * tokens->count), 0);
}

static DsPairs *
read_pairs(DsTrainee *trainee, DsSpool *source, const char *sql)
{
	DsTextReader reader = {trainee, read_text, trainee->net.kind == DS_NET_SINGLE};

	if (trainee->pretrained.images)
		source->hint = trainee->pretrained.texts ? SHAPE_CLIP : SHAPE_PICTURES;
	ds_spool_read(source, sql, NULL, NULL);
	return ds_pairs_create(source, &reader);
}

/* ---- weights ---- */

static void
load(DsTrainee *trainee, DsTrainer *trainer)
{
	DsReader reader;

	PushActiveSnapshot(GetTransactionSnapshot());
	ds_delta_open(&reader, trainee->start->key);
	for (int t = 0; t < (trainee->net.shared || trainee->net.kind == DS_NET_SINGLE ? 1 : 2); t++)
	{
		DsStoredSource stored;
		DsTensorSource source =
			ds_stored_source(&stored, &reader,
							 reads(trainee, t) == DS_SPOOL_IMAGE
								 ? DS_IMAGE_PREFIX
								 : ds_imported_prefix(&trainee->start->pretrained, t));
		DsStatus status;

		ds_guard_check(
			&stored.guard,
			ds_trainer_load(trainer, (size_t) t, &source, false, &ds_server_cancel, &status),
			&status);
	}
	ds_reader_close(&reader);
	PopActiveSnapshot();
}

/* ---- versions ---- */

static void
describe(const DsTrainee *trainee, DsVersionRow *row)
{
	DsReader reader;
	DsStored stored;

	row->config = ds_imported_config_write(&trainee->pretrained);
	row->precision = ds_precision_name(trainee->pretrained.precision);
	if (!trainee->pretrained.texts)
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	ds_reader_open(&reader, trainee->start->key);
	ds_reader_need(&reader, DS_TOKENIZER_TENSOR, &stored);
	row->bytes += (int64) stored.bytes;
	ds_reader_close(&reader);
	PopActiveSnapshot();
}

static bool
stored(const DsTrainee *trainee, DsTensorData *tensor)
{
	const char *dot = strchr(tensor->name, '.');
	bool query;
	DsImageTensor full;

	/* "log_scale" is an option of each training */
	if (dot == NULL)
		return false;
	query = strncmp(tensor->name, "query.", strlen("query.")) == 0;
	if (reads(trainee, query ? DS_SIDE_QUERY : DS_SIDE_DOCUMENT) == DS_SPOOL_IMAGE)
	{
		/* the trainer knows two dimensions */
		if (!ds_image_spec_find(&trainee->pretrained.image, dot + 1, &full))
			elog(ERROR, "model \"%s\" has no tensor \"%s\"", trainee->name, tensor->name);
		tensor->shape_count = (int) full.rank;
		for (uint32 d = 0; d < full.rank; d++)
			tensor->shape[d] = full.shape[d];
		tensor->name = psprintf(DS_IMAGE_PREFIX "%s", dot + 1);
	}
	else if (!trainee->pretrained.separate)
		tensor->name = dot + 1;
	return true;
}

static void
write_tokenizers(const DsTrainee *trainee, DsModelKey key)
{
	if (trainee->pretrained.texts)
		ds_store_copy(trainee->start->key, DS_TOKENIZER_TENSOR, key);
}

/* A checkpoint goes on from the same version, which has everything else. */
static void
save(const DsTrainee *trainee pg_attribute_unused(), DsModelKey key pg_attribute_unused())
{
}

static void
restore(DsTrainee *trainee, DsReader *reader pg_attribute_unused())
{
	open_encoder(trainee);
}

const DsTraineeKind ds_trainee_encoder = {find,		  reads,  transform, split,	 open_encoder,
										  read_pairs, load,	  describe,	 stored, write_tokenizers,
										  save,		  restore};
