/*
 * config.c
 *		Reading, checking and writing configs by tables of fields.
 */
#include "model/config.h"

#include "model/training_fields.h"
#include "nn/image_small.h"

/* One tower, as a config describes it */
typedef struct Tower
{
	DsTokenizerConfig tokenizer;
	DsTowerConfig tower;
	uint32 features; /* their number; 0: it takes texts */
	DsImageConfig image;
} Tower;

typedef struct Root
{
	int family;
	int towers;
	int score;
	bool normalize;
	DsTrainOptions training;
	Tower tower;
} Root;

static const char *const families[] = {"dual_encoder", NULL};
static const char *const tower_kinds[] = {"shared", "separate", NULL};
static const char *const scores[] = {"cosine", "dot", NULL};
static const char *const poolings[] = {"mean", "sum", "sqrtn", NULL};
static const char *const on_errors[] = {"error", "null", NULL};
static const char *const tokenizer_kinds[] = {"", "ngram", NULL};
static const char *const networks[] = {"small", NULL};
static const char *const fusions[] = {"none", "concatenate", "gated", NULL}; /* DsFusionKind */

static const Field clean_fields[] = {
	BOOL("fold_width", DsCleanOptions, fold_width),
	BOOL("fold_case", DsCleanOptions, fold_case),
	BOOL("strip_controls", DsCleanOptions, strip_controls),
	BOOL("collapse_space", DsCleanOptions, collapse_space),
	BOOL("strip_html", DsCleanOptions, strip_html),
	END,
};

/* The limits of orders and sizes against each other are ds_tokenizer_check()'s. */
static const Field tokenizer_fields[] = {
	CHOICE("kind", DsTokenizerConfig, kind, tokenizer_kinds),
	UINT32("vocabulary", DsTokenizerConfig, vocabulary, 1, DS_TOKENIZER_VOCABULARY_MAX),
	UINT32("buckets", DsTokenizerConfig, buckets, 0, DS_TOKENIZER_VOCABULARY_MAX),
	UINT32("min_count", DsTokenizerConfig, min_count, 1, 1000000000),
	BOOL("words", DsTokenizerConfig, words),
	UINT32("word_min", DsTokenizerConfig, word_min, 0, DS_TOKENIZER_ORDER_MAX),
	UINT32("word_max", DsTokenizerConfig, word_max, 0, DS_TOKENIZER_ORDER_MAX),
	UINT32("cjk_min", DsTokenizerConfig, cjk_min, 0, DS_TOKENIZER_ORDER_MAX),
	UINT32("cjk_max", DsTokenizerConfig, cjk_max, 0, DS_TOKENIZER_ORDER_MAX),
	UINT32("max_tokens", DsTokenizerConfig, max_tokens, 1, DS_TOKENIZER_TOKENS_MAX),
	END,
};

static const Field embedding_fields[] = {
	UINT32("dims", DsTowerConfig, embedding_dims, 1, DS_WIDTH_MAX),
	END,
};

#define CHANNELS_MIN 16
#define CHANNELS_MAX 256
#define IMAGE_EDGE_MAX 1024

static const Field image_fields[] = {
	CHOICE("network", DsImageConfig, network, networks),
	UINT32("width", DsImageConfig, width, DS_IMAGE_SMALL_EDGE, IMAGE_EDGE_MAX),
	UINT32("height", DsImageConfig, height, DS_IMAGE_SMALL_EDGE, IMAGE_EDGE_MAX),
	UINT32("channels", DsImageConfig, channels, CHANNELS_MIN, CHANNELS_MAX),
	REAL("mean", DsImageConfig, mean, 0, 1, false, false),
	REAL("deviation", DsImageConfig, deviation, 0.01, 1, false, false),
	BOOL("mirror", DsImageConfig, mirror),
	UINT32("move", DsImageConfig, move, 0, IMAGE_EDGE_MAX),
	REAL("leave_out", DsImageConfig, leave_out, 0, 0.5, false, true),
	END,
};

#define IMAGE_FIELDS(base)                                                                  \
	OBJECT("image", (base) + offsetof(Tower, image), image_fields),                         \
	{                                                                                       \
		"fusion", FIELD_CHOICE, (base) + offsetof(Tower, image.fusion), 0, 0, false, false, \
			fusions, NULL                                                                   \
	}

#define TOWER_FIELDS(base)                                                                     \
	OBJECT("cleaning", (base) + offsetof(Tower, tokenizer.clean), clean_fields),               \
		OBJECT("tokenizer", (base) + offsetof(Tower, tokenizer), tokenizer_fields),            \
		OBJECT("embedding", (base) + offsetof(Tower, tower), embedding_fields),                \
		{"pooling", FIELD_CHOICE, (base) + offsetof(Tower, tower.pooling), 0, 0, false, false, \
		 poolings,	NULL},                                                                     \
	{                                                                                          \
		"dense", FIELD_WIDTHS, (base) + offsetof(Tower, tower), 1, DS_WIDTH_MAX, false, false, \
			NULL, NULL                                                                         \
	}

/* A tower on features has these instead of all that makes features of a text */
#define FEATURE_FIELDS(base)                                                                      \
	{"features", FIELD_UINT32, (base) + offsetof(Tower, features), 1, DS_WIDTH_MAX, false, false, \
	 NULL,		 NULL},                                                                           \
	{                                                                                             \
		"relu", FIELD_BOOL, (base) + offsetof(Tower, tower.last_relu), 0, 1, false, false, NULL,  \
			NULL                                                                                  \
	}

static const Field tower_fields[] = {TOWER_FIELDS(0), FEATURE_FIELDS(0), IMAGE_FIELDS(0), END};

/* what is written of each kind */
static const Field text_tower_fields[] = {TOWER_FIELDS(0), END};
static const Field fused_tower_fields[] = {TOWER_FIELDS(0), IMAGE_FIELDS(0), END};
static const Field image_tower_fields[] = {
	IMAGE_FIELDS(0),
	{"dense", FIELD_WIDTHS, offsetof(Tower, tower), 1, DS_WIDTH_MAX, false, false, NULL, NULL},
	END,
};
static const Field feature_tower_fields[] = {
	FEATURE_FIELDS(0),
	{"dense", FIELD_WIDTHS, offsetof(Tower, tower), 1, DS_WIDTH_MAX, false, false, NULL, NULL},
	END,
};
static const char *const text_keys[] = {"cleaning", "tokenizer", "embedding", "pooling"};

/* in the order of DsLoss, DsOptimizerKind, DsScheduleKind */
const char *const ds_loss_names[] = {
	"cross_entropy", "contrastive", "triplet", "pair_contrastive",	 "regression", "rank_margin",
	"margin_mse",	 "ranknet",		"listnet", "list_cross_entropy", "kl",		   "binary",
	"classes",		 NULL};
const char *const ds_optimizer_names[] = {"adamw", "adam", "sgd", NULL};
const char *const ds_schedule_names[] = {"exponential", "constant", "linear", "cosine", NULL};

static const Field training_fields[] = {TRAINING_FIELDS(DsTrainOptions, ), END};

static const Field root_fields[] = {
	CHOICE("family", Root, family, families),
	CHOICE("towers", Root, towers, tower_kinds),
	CHOICE("score", Root, score, scores),
	BOOL("normalize", Root, normalize),
	OBJECT("training", offsetof(Root, training), training_fields),
	TOWER_FIELDS(offsetof(Root, tower)),
	FEATURE_FIELDS(offsetof(Root, tower)),
	IMAGE_FIELDS(offsetof(Root, tower)),
	CUSTOM("query"),
	CUSTOM("document"),
	END,
};

static const Field encode_table_fields[] = {
	BOOL("all", DsEncodeTableOptions, all),
	BOOL("restart", DsEncodeTableOptions, restart),
	UINT32("batch_size", DsEncodeTableOptions, batch_size, 1, 100000),
	UINT32("workers", DsEncodeTableOptions, workers, 0, 1024),
	CHOICE("on_error", DsEncodeTableOptions, on_error, on_errors),
	END,
};

/* ---- reading ---- */

/*
 * What the pure rooms say about combinations of settings names a setting, but
 * not whose.
 */
static void
check_part(DsCode code, const DsStatus *status, const char *what)
{
	if (code == DS_INVALID && what != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s: %s", what, status->message)));
	ds_check(code, status);
}

void
ds_training_check(const DsTrainOptions *options)
{
	DsTrainConfig train = options->train;
	DsStatus status;

	/* these are not known here */
	if (train.schedule.decay_steps == 0)
		train.schedule.decay_steps = 1;
	train.schedule.total_steps = train.schedule.warmup_steps + 1;
	check_part(ds_train_check(&train, &status), &status, "training");
}

static void
check_config(const DsModelConfig *config)
{
	DsNet *net = palloc(sizeof(DsNet));
	uint32_t vocabulary[2];
	DsStatus status;

	for (int t = 0; t < ds_config_towers(config); t++)
		if (ds_config_has_texts(config, t))
			check_part(ds_tokenizer_check(&config->tokenizer[t], &status), &status, "tokenizer");
	vocabulary[0] = config->tokenizer[0].vocabulary;
	vocabulary[1] = config->tokenizer[1].vocabulary;
	ds_config_net(config, vocabulary, net);
	check_part(ds_net_check(net, &status), &status, "config");
	ds_training_check(&config->training);
	pfree(net);
}

static bool
has_key(const JsonbContainer *object, const char *key)
{
	JsonbValue place;

	return getKeyJsonValueFromContainer(unconstify(JsonbContainer *, object), key,
										(int) strlen(key), &place) != NULL;
}

/* Settings of pictures mean nothing without "image", and those of texts nothing beside pictures alone. */
static void
check_image_keys(const JsonbContainer *part, const char *path, const DsImageConfig *image)
{
	if (image->width == 0 && has_key(part, "fusion") && image->fusion != DS_FUSION_NONE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("config key \"%sfusion\" needs \"image\"", path),
						errhint("It says how a text and a picture become one vector.")));
}

/* What a part of a config says of texts means nothing to a tower on features, and the other way round. */
static void
check_keys(JsonbContainer *part, const char *path, bool features)
{
	JsonbValue place;

	for (size_t i = 0; features && i < lengthof(text_keys); i++)
		if (getKeyJsonValueFromContainer(part, text_keys[i], (int) strlen(text_keys[i]), &place) !=
			NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("config key \"%s%s\" is for texts, but the model takes features",
								   path, text_keys[i])));
	if (!features && getKeyJsonValueFromContainer(part, "relu", strlen("relu"), &place) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("config key \"%srelu\" is for models that take \"features\"", path)));
}

static const DsImageConfig image_defaults = {
	.channels = 32, .mean = 0.5, .deviation = 0.25, .mirror = true, .leave_out = 0.1};

#define IMAGE_WIDTH 64
/* Pictures alone need many; with titles beside them, more than a few make unseen products worse */
#define IMAGE_EPOCHS 20
#define FUSION_EPOCHS 8
/* The usual one is better where titles are read, but leaves pictures of one kind further apart */
#define IMAGE_TEMPERATURE 0.1

/* "image" is there: where it says one edge, or none, the others have their default */
static void
set_image_size(DsImageConfig *image)
{
	if (image->width == 0)
		image->width = image->height > 0 ? image->height : IMAGE_WIDTH;
	if (image->height == 0)
		image->height = image->width;
}

static bool
side_has(Jsonb *json, const char *key)
{
	static const char *const sides[2] = {"query", "document"};

	for (int t = 0; t < 2; t++)
	{
		JsonbContainer *part = ds_fields_find_object(json, sides[t]);

		if (part != NULL && has_key(part, key))
			return true;
	}
	return false;
}

/* Trainings of towers over pictures begin with other defaults. */
static void
image_training(Jsonb *json, bool fused, DsTrainOptions *training)
{
	JsonbContainer *given = ds_fields_find_object(json, "training");

	if (given == NULL || !has_key(given, "epochs"))
		training->epochs = fused ? FUSION_EPOCHS : IMAGE_EPOCHS;
	if (given == NULL || !has_key(given, "schedule"))
		training->train.schedule.kind = DS_SCHEDULE_COSINE;
	if (given == NULL || !has_key(given, "symmetric"))
		training->train.symmetric = training->train.loss == DS_LOSS_SOFTMAX;
	if (!fused && (given == NULL || !has_key(given, "temperature")))
		training->train.temperature = IMAGE_TEMPERATURE;
}

static void
keep_last_width(DsTowerConfig *tower)
{
	tower->dense[0] =
		tower->dense_count > 0 ? tower->dense[tower->dense_count - 1] : tower->embedding_dims;
	tower->dense_count = 1;
}

void
ds_config_read(Jsonb *json, DsModelConfig *config)
{
	static const char *const sides[2] = {"query", "document"};
	Root root = {0};
	JsonbContainer *part[2];
	bool root_image;

	root.score = DS_SCORE_COSINE;
	root.training.train = ds_train_defaults;
	root.training.epochs = DS_TRAIN_EPOCHS_DEFAULT;
	root.training.batch_size = DS_TRAIN_BATCH_DEFAULT;
	root.tower.tokenizer = ds_tokenizer_defaults;
	root.tower.tower = ds_dual_encoder_defaults.tower[0];
	root.tower.image = image_defaults;
	root.score = ds_dual_encoder_defaults.score;
	/* normalize follows score unless it is given */
	ds_fields_read(json, "config", "config key", root_fields, &root);
	if (!has_key(&json->root, "normalize"))
		root.normalize = root.score == DS_SCORE_COSINE;
	root_image = has_key(&json->root, "image");
	if (root_image || side_has(json, "image"))
	{
		if (!has_key(&json->root, "towers"))
			root.towers = 1;
		image_training(json, root.tower.image.fusion != DS_FUSION_NONE || side_has(json, "fusion"),
					   &root.training);
	}
	if (root_image)
		set_image_size(&root.tower.image);
	check_image_keys(&json->root, "", &root.tower.image);

	memset(config, 0, sizeof(*config));
	config->shared = root.towers == 0;
	config->training = root.training;
	if (root.score == DS_SCORE_COSINE && !root.normalize)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("config key \"normalize\" must be true where \"score\" is \"cosine\""),
				 errhint("The score \"dot\" compares vectors as they are.")));
	/* the product of normalised vectors is their cosine */
	config->score = root.normalize ? DS_SCORE_COSINE : DS_SCORE_DOT;
	for (int t = 0; t < 2; t++)
	{
		Tower tower = root.tower;

		/* "image" of the whole config speaks of documents, unless the towers are shared by its word */
		if (t == DS_SIDE_QUERY && !config->shared)
			tower.image = image_defaults;
		part[t] = ds_fields_find_object(json, sides[t]);
		if (part[t] != NULL && config->shared)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("config key \"%s\" needs separate towers", sides[t]),
							errhint("Add \"towers\": \"separate\".")));
		if (part[t] != NULL)
		{
			ds_fields_read_object(part[t], "config key", sides[t], tower_fields, &tower);
			if (has_key(part[t], "image"))
				set_image_size(&tower.image);
			check_image_keys(part[t], psprintf("%s.", sides[t]), &tower.image);
		}
		config->tokenizer[t] = tower.tokenizer;
		config->tower[t] = tower.tower;
		config->image[t] = tower.image;
		/* a tower over pictures alone has one dense layer, the last */
		if (tower.image.width > 0 && tower.image.fusion == DS_FUSION_NONE)
			keep_last_width(&config->tower[t]);
		config->tower[t].features = tower.features > 0;
		if (tower.features > 0)
			config->tower[t].embedding_dims = tower.features;
	}
	if (ds_config_images(config) && (config->tower[0].features || config->tower[1].features))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("config keys \"image\" and \"features\" exclude each other")));
	if (config->tower[0].features != config->tower[1].features)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("both towers must take \"features\", or none")));
	check_keys(&json->root, "", config->tower[0].features);
	for (int t = 0; t < 2; t++)
		if (part[t] != NULL)
			check_keys(part[t], psprintf("%s.", sides[t]), config->tower[0].features);
	check_config(config);
}

void
ds_clean_options_read(Jsonb *json, DsCleanOptions *options)
{
	*options = ds_clean_defaults;
	ds_fields_read(json, "options", "option", clean_fields, options);
}

void
ds_encode_table_options_read(Jsonb *json, DsEncodeTableOptions *options)
{
	options->all = false;
	options->restart = false;
	options->batch_size = 1000;
	options->workers = 0;
	options->on_error = DS_ON_ERROR_ERROR;
	ds_fields_read(json, "options", "option", encode_table_fields, options);
}

/* ---- writing ---- */

Jsonb *
ds_config_write(const DsModelConfig *config)
{
	StringInfoData out;
	bool first = true;

	initStringInfo(&out);
	appendStringInfo(&out,
					 "{\"family\": \"%s\", \"towers\": \"%s\", \"score\": \"%s\", "
					 "\"normalize\": %s, \"training\": {",
					 families[0], tower_kinds[config->shared ? 0 : 1], scores[config->score],
					 config->score == DS_SCORE_COSINE ? "true" : "false");
	ds_fields_write(&out, training_fields, &config->training, &first);
	appendStringInfoString(&out, "}, ");
	for (int t = 0; t < ds_config_towers(config); t++)
	{
		Tower tower = {config->tokenizer[t], config->tower[t], config->tower[t].embedding_dims,
					   config->image[t]};
		const Field *fields = text_tower_fields;

		if (config->tower[t].features)
			fields = feature_tower_fields;
		else if (config->image[t].width > 0)
			fields =
				config->image[t].fusion == DS_FUSION_NONE ? image_tower_fields : fused_tower_fields;

		first = true;
		if (!config->shared)
			appendStringInfo(&out, "%s\"%s\": {", t > 0 ? ", " : "",
							 ds_config_tower_name(config, t));
		ds_fields_write(&out, fields, &tower, &first);
		if (!config->shared)
			appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, '}');
	return ds_fields_finish(&out);
}

/* ---- what a config means ---- */

DsDualEncoderConfig
ds_config_encoder(const DsModelConfig *config, const uint32_t vocabulary[2])
{
	DsDualEncoderConfig encoder = {0};

	encoder.shared = config->shared;
	encoder.score = (DsScore) config->score;
	for (int t = 0; t < 2; t++)
	{
		encoder.tower[t] = config->tower[t];
		encoder.tower[t].vocabulary = vocabulary[t];
	}
	return encoder;
}

bool
ds_config_features(const DsModelConfig *config)
{
	return config->tower[0].features;
}

int
ds_config_towers(const DsModelConfig *config)
{
	return config->shared ? 1 : 2;
}

static int
tower_of(const DsModelConfig *config, int side)
{
	return config->shared ? 0 : side;
}

bool
ds_config_has_images(const DsModelConfig *config, int side)
{
	return config->image[tower_of(config, side)].width > 0;
}

bool
ds_config_has_texts(const DsModelConfig *config, int side)
{
	const DsImageConfig *image = &config->image[tower_of(config, side)];

	return !ds_config_features(config) && (image->width == 0 || image->fusion != DS_FUSION_NONE);
}

bool
ds_config_images(const DsModelConfig *config)
{
	return ds_config_has_images(config, DS_SIDE_QUERY) ||
		   ds_config_has_images(config, DS_SIDE_DOCUMENT);
}

static void
image_tower(const DsImageConfig *image, const DsTowerConfig *bag, DsTower *tower)
{
	DsStatus status;

	tower->fusion_dims =
		bag->dense_count > 0 ? bag->dense[bag->dense_count - 1] : bag->embedding_dims;
	tower->body = image->fusion == DS_FUSION_NONE ? DS_BODY_IMAGE : DS_BODY_FUSION;
	tower->fusion = image->fusion == DS_FUSION_BY_GATE ? DS_FUSION_GATED : DS_FUSION_CONCATENATE;
	check_part(ds_image_spec_small(&tower->image, image->height, image->width, image->channels,
								   tower->fusion_dims, &status),
			   &status, "image");
	for (int c = 0; c < 3; c++)
	{
		tower->pixel_mean[c] = image->mean;
		tower->pixel_deviation[c] = image->deviation;
	}
	tower->mirrors = image->mirror;
	tower->moves = image->move;
	tower->leave_out = image->leave_out;
}

void
ds_config_net(const DsModelConfig *config, const uint32_t vocabulary[2], DsNet *net)
{
	DsDualEncoderConfig encoder = ds_config_encoder(config, vocabulary);

	memset(net, 0, sizeof(*net));
	net->kind = DS_NET_DUAL;
	net->shared = encoder.shared;
	net->score = encoder.score;
	for (int t = 0; t < 2; t++)
	{
		net->tower[t].body = encoder.tower[t].features ? DS_BODY_FEATURES : DS_BODY_BAG;
		net->tower[t].bag = encoder.tower[t];
		if (ds_config_has_images(config, t))
			image_tower(&config->image[tower_of(config, t)], &encoder.tower[t], &net->tower[t]);
	}
}

void
ds_config_transform(const DsModelConfig *config, int side, DsImageTransform *transform)
{
	const DsImageConfig *image = &config->image[tower_of(config, side)];

	ds_image_transform_init(transform);
	transform->fit = DS_FIT_EXACT;
	transform->filter = DS_FILTER_BILINEAR;
	transform->height = image->height;
	transform->width = image->width;
	for (int c = 0; c < 3; c++)
	{
		transform->mean[c] = (float) image->mean;
		transform->deviation[c] = (float) image->deviation;
	}
}

const char *
ds_config_tower_name(const DsModelConfig *config, int tower)
{
	if (config->shared)
		return "shared";
	return tower == DS_SIDE_QUERY ? "query" : "document";
}
