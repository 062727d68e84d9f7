/*
 * config.c
 *		Reading, checking and writing configs by tables of fields.
 *
 * One table for each JSON object lists its keys with type, limits and the
 * place in a struct.  The same table reads, names what is allowed in errors,
 * and writes the complete config back.
 */
#include "model/config.h"

#include <float.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/numeric.h"

typedef enum FieldType
{
	FIELD_BOOL, /* bool */
	FIELD_FLAG, /* int */
	FIELD_UINT32,
	FIELD_UINT64,
	FIELD_REAL, /* double */
	FIELD_CHOICE, /* int, or an enum: index into choices */
	FIELD_WIDTHS, /* dense_count and dense[] of a DsTowerConfig */
	FIELD_OBJECT,
	FIELD_CUSTOM /* known, but read by the caller */
} FieldType;

typedef struct Field
{
	const char *key;
	FieldType type;
	size_t offset;
	double min;
	double max;
	bool above_min; /* min itself is not allowed */
	bool below_max; /* nor is max */
	const char *const *choices; /* NULL-terminated */
	const struct Field *fields; /* of an object, ended by a NULL key */
} Field;

#define EXACT_MAX 9007199254740992.0 /* 2^53: integers that a double holds */

/* One tower, as a config describes it */
typedef struct Tower
{
	DsTokenizerConfig tokenizer;
	DsTowerConfig tower;
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
static const char *const tokenizer_kinds[] = {"", "ngram", NULL};
static const char *const losses[] = {"cross_entropy", "contrastive", NULL};

#define BOOL(key, type, member)                                                 \
	{                                                                           \
		key, FIELD_BOOL, offsetof(type, member), 0, 1, false, false, NULL, NULL \
	}
#define FLAG(key, type, member)                                                 \
	{                                                                           \
		key, FIELD_FLAG, offsetof(type, member), 0, 1, false, false, NULL, NULL \
	}
#define UINT32(key, type, member, min, max)                                           \
	{                                                                                 \
		key, FIELD_UINT32, offsetof(type, member), min, max, false, false, NULL, NULL \
	}
#define REAL(key, type, member, min, max, above, below)                             \
	{                                                                               \
		key, FIELD_REAL, offsetof(type, member), min, max, above, below, NULL, NULL \
	}
#define CHOICE(key, type, member, choices)                                           \
	{                                                                                \
		key, FIELD_CHOICE, offsetof(type, member), 0, 0, false, false, choices, NULL \
	}
#define OBJECT(key, offset, fields)                                 \
	{                                                               \
		key, FIELD_OBJECT, offset, 0, 0, false, false, NULL, fields \
	}
#define CUSTOM(key)                                          \
	{                                                        \
		key, FIELD_CUSTOM, 0, 0, 0, false, false, NULL, NULL \
	}
#define END                                                 \
	{                                                       \
		NULL, FIELD_BOOL, 0, 0, 0, false, false, NULL, NULL \
	}

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

static const Field tower_fields[] = {TOWER_FIELDS(0), END};

#define TRAINING_FIELDS(type, base)                                                               \
	UINT32("epochs", type, base epochs, 1, 1000000),                                              \
		UINT32("batch_size", type, base batch_size, 1, DS_TRAIN_BATCH_MAX),                       \
		CHOICE("loss", type, base train.loss, losses),                                            \
		BOOL("symmetric", type, base train.symmetric),                                            \
		REAL("temperature", type, base train.temperature, 0.01, 10, false, false),                \
		BOOL("learn_temperature", type, base train.learn_temperature),                            \
		REAL("margin", type, base train.margin, 0, 1e6, true, false),                             \
		REAL("feature_dropout", type, base train.feature_dropout, 0, 1, false, true),             \
		REAL("learning_rate", type, base train.schedule.initial, 0, 1e3, true, false),            \
		REAL("decay", type, base train.schedule.decay, 0, 1, true, false),                        \
		REAL("decay_steps", type, base train.schedule.decay_steps, 0, EXACT_MAX, false, false),   \
		FLAG("staircase", type, base train.schedule.staircase),                                   \
		REAL("min_learning_rate", type, base train.schedule.minimum, 0, 1e3, false, false),       \
		REAL("warmup_steps", type, base train.schedule.warmup_steps, 0, EXACT_MAX, false, false), \
		REAL("beta1", type, base train.optimizer.beta1, 0, 1, false, true),                            \
		REAL("beta2", type, base train.optimizer.beta2, 0, 1, false, true),                            \
		REAL("epsilon", type, base train.optimizer.epsilon, 0, 1, true, false),                        \
		REAL("weight_decay", type, base train.optimizer.weight_decay, 0, 1e3, false, false),           \
		REAL("clip_norm", type, base train.clip_norm, 0, 1e9, false, false),                      \
	{                                                                                             \
		"seed", FIELD_UINT64, offsetof(type, base train.seed), 0, EXACT_MAX, false, false, NULL,  \
			NULL                                                                                  \
	}

static const Field training_fields[] = {TRAINING_FIELDS(DsTrainOptions, ), END};

static const Field root_fields[] = {
	CHOICE("family", Root, family, families),
	CHOICE("towers", Root, towers, tower_kinds),
	CHOICE("score", Root, score, scores),
	BOOL("normalize", Root, normalize),
	OBJECT("training", offsetof(Root, training), training_fields),
	TOWER_FIELDS(offsetof(Root, tower)),
	CUSTOM("query"),
	CUSTOM("document"),
	END,
};

static const Field run_fields[] = {
	TRAINING_FIELDS(DsRunOptions, training.),
	BOOL("from_scratch", DsRunOptions, from_scratch),
	UINT32("keep_versions", DsRunOptions, keep_versions, 1, 1000000),
	END,
};

static const Field encode_table_fields[] = {
	BOOL("all", DsEncodeTableOptions, all),
	BOOL("restart", DsEncodeTableOptions, restart),
	UINT32("batch_size", DsEncodeTableOptions, batch_size, 1, 100000),
	UINT32("workers", DsEncodeTableOptions, workers, 0, 1024),
	END,
};

/* ---- errors ---- */

static char *
join_path(const char *path, const char *key)
{
	return path[0] == '\0' ? pstrdup(key) : psprintf("%s.%s", path, key);
}

static void
unknown_key(const char *what, const char *path, const char *key, const Field *fields)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (const Field *field = fields; field->key != NULL; field++)
		appendStringInfo(&valid, "%s%s", field == fields ? "" : ", ", field->key);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown %s \"%s\"", what, join_path(path, key)),
					path[0] == '\0' ? errhint("Valid keys are: %s.", valid.data)
									: errhint("Valid keys of \"%s\" are: %s.", path, valid.data)));
}

static char *
number_text(double x)
{
	return float8out_internal(x);
}

static void
wrong_value(const char *what, const char *path, const Field *field)
{
	const char *expected = NULL;
	StringInfoData text;

	initStringInfo(&text);
	switch (field->type)
	{
		case FIELD_BOOL:
		case FIELD_FLAG:
			expected = "true or false";
			break;
		case FIELD_UINT32:
		case FIELD_UINT64:
			expected = psprintf("an integer from " INT64_FORMAT " to " INT64_FORMAT,
								(int64) field->min, (int64) field->max);
			break;
		case FIELD_REAL:
			expected = psprintf("a number %s %s and %s %s",
								field->above_min ? ">" : ">=", number_text(field->min),
								field->below_max ? "<" : "<=", number_text(field->max));
			break;
		case FIELD_CHOICE:
			for (int i = 0; field->choices[i] != NULL; i++)
				if (field->choices[i][0] != '\0')
					appendStringInfo(&text, "%s\"%s\"", text.len == 0 ? "" : " or ",
									 field->choices[i]);
			expected = text.data;
			break;
		case FIELD_WIDTHS:
			expected = psprintf("an array of at most %d integers from 1 to %d", DS_DENSE_MAX,
								DS_WIDTH_MAX);
			break;
		case FIELD_OBJECT:
		case FIELD_CUSTOM:
			expected = "an object";
			break;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s \"%s\" must be %s", what, path, expected)));
}

/* ---- reading ---- */

static bool
read_number(const JsonbValue *value, double *number)
{
	if (value->type != jbvNumeric)
		return false;
	*number = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	return true;
}

static bool
in_limits(const Field *field, double number)
{
	if (isnan(number) || number < field->min || number > field->max)
		return false;
	if ((field->above_min && number == field->min) || (field->below_max && number == field->max))
		return false;
	return field->type == FIELD_REAL || number == floor(number);
}

static bool
read_widths(const JsonbValue *value, const Field *field, DsTowerConfig *tower)
{
	JsonbContainer *array;
	uint32 count;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerIsScalar(value->val.binary.data))
		return false;
	array = value->val.binary.data;
	count = JsonContainerSize(array);
	if (count > DS_DENSE_MAX)
		return false;
	for (uint32 i = 0; i < count; i++)
	{
		JsonbValue *width = getIthJsonbValueFromContainer(array, i);
		double number;

		if (!read_number(width, &number) || !in_limits(field, number))
			return false;
		tower->dense[i] = (uint32) number;
	}
	tower->dense_count = count;
	return true;
}

static void read_object(JsonbContainer *object, const char *what, const char *path,
						const Field *fields, void *base);

static void
read_field(const JsonbValue *value, const char *what, const char *path, const Field *field,
		   void *base)
{
	char *place = (char *) base + field->offset;
	double number;
	bool good = false;

	switch (field->type)
	{
		case FIELD_BOOL:
			good = value->type == jbvBool;
			if (good)
				*(bool *) place = value->val.boolean;
			break;
		case FIELD_FLAG:
			good = value->type == jbvBool;
			if (good)
				*(int *) place = value->val.boolean;
			break;
		case FIELD_UINT32:
			good = read_number(value, &number) && in_limits(field, number);
			if (good)
				*(uint32 *) place = (uint32) number;
			break;
		case FIELD_UINT64:
			good = read_number(value, &number) && in_limits(field, number);
			if (good)
				*(uint64 *) place = (uint64) number;
			break;
		case FIELD_REAL:
			good = read_number(value, &number) && in_limits(field, number);
			if (good)
				*(double *) place = number;
			break;
		case FIELD_CHOICE:
			if (value->type != jbvString)
				break;
			for (int i = 0; field->choices[i] != NULL && !good; i++)
			{
				size_t length = strlen(field->choices[i]);

				if (length > 0 && length == (size_t) value->val.string.len &&
					memcmp(field->choices[i], value->val.string.val, length) == 0)
				{
					*(int *) place = i;
					good = true;
				}
			}
			break;
		case FIELD_WIDTHS:
			good = read_widths(value, field, (DsTowerConfig *) place);
			break;
		case FIELD_OBJECT:
			good = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
			if (good)
				read_object(value->val.binary.data, what, path, field->fields, place);
			break;
		case FIELD_CUSTOM:
			good = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
			break;
	}
	if (!good)
		wrong_value(what, path, field);
}

static void
read_object(JsonbContainer *object, const char *what, const char *path, const Field *fields,
			void *base)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue value;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			const Field *field = fields;

			while (field->key != NULL && strcmp(field->key, key) != 0)
				field++;
			if (field->key == NULL)
				unknown_key(what, path, key, fields);
			read_field(&value, what, join_path(path, key), field, base);
		}
	}
}

static void
read_root(Jsonb *json, const char *whole, const char *what, const Field *fields, void *base)
{
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object", whole)));
	read_object(&json->root, what, "", fields, base);
}

/* The container of an object under a key of the root, or NULL */
static JsonbContainer *
find_object(Jsonb *json, const char *key)
{
	JsonbValue place;
	JsonbValue *value;

	value = getKeyJsonValueFromContainer(&json->root, key, strlen(key), &place);
	if (value == NULL || value->type != jbvBinary)
		return NULL;
	return value->val.binary.data;
}

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

static void
check_training(const DsTrainOptions *options)
{
	DsTrainConfig train = options->train;
	DsStatus status;

	if (train.schedule.decay_steps == 0)
		train.schedule.decay_steps = 1; /* an epoch's, not known here */
	check_part(ds_train_check(&train, &status), &status, "training");
}

static void
check_config(const DsModelConfig *config)
{
	DsDualEncoderConfig encoder;
	uint32_t vocabulary[2];
	DsStatus status;

	for (int t = 0; t < ds_config_towers(config); t++)
		check_part(ds_tokenizer_check(&config->tokenizer[t], &status), &status, "tokenizer");
	vocabulary[0] = config->tokenizer[0].vocabulary;
	vocabulary[1] = config->tokenizer[1].vocabulary;
	encoder = ds_config_encoder(config, vocabulary);
	check_part(ds_dual_encoder_check(&encoder, &status), &status, "config");
	check_training(&config->training);
}

void
ds_config_read(Jsonb *json, DsModelConfig *config)
{
	static const char *const sides[2] = {"query", "document"};
	Root root = {0};
	JsonbContainer *part[2];

	root.score = DS_SCORE_COSINE;
	root.training.train = ds_train_defaults;
	root.training.epochs = DS_TRAIN_EPOCHS_DEFAULT;
	root.training.batch_size = DS_TRAIN_BATCH_DEFAULT;
	root.tower.tokenizer = ds_tokenizer_defaults;
	root.tower.tower = ds_dual_encoder_defaults.tower[0];
	root.score = ds_dual_encoder_defaults.score;
	/* normalize follows score unless it is given */
	read_root(json, "config", "config key", root_fields, &root);
	{
		JsonbValue place;

		if (getKeyJsonValueFromContainer(&json->root, "normalize", strlen("normalize"), &place) ==
			NULL)
			root.normalize = root.score == DS_SCORE_COSINE;
	}

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

		part[t] = find_object(json, sides[t]);
		if (part[t] != NULL && config->shared)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("config key \"%s\" needs separate towers", sides[t]),
							errhint("Add \"towers\": \"separate\".")));
		if (part[t] != NULL)
			read_object(part[t], "config key", sides[t], tower_fields, &tower);
		config->tokenizer[t] = tower.tokenizer;
		config->tower[t] = tower.tower;
	}
	check_config(config);
}

void
ds_run_options_read(Jsonb *json, DsRunOptions *options)
{
	options->from_scratch = false;
	options->keep_versions = 2;
	read_root(json, "options", "option", run_fields, options);
	check_training(&options->training);
}

void
ds_clean_options_read(Jsonb *json, DsCleanOptions *options)
{
	*options = ds_clean_defaults;
	read_root(json, "options", "option", clean_fields, options);
}

void
ds_encode_table_options_read(Jsonb *json, DsEncodeTableOptions *options)
{
	options->all = false;
	options->restart = false;
	options->batch_size = 1000;
	options->workers = 0;
	read_root(json, "options", "option", encode_table_fields, options);
}

/* ---- writing ---- */

static void
write_fields(StringInfo out, const Field *fields, const void *base, bool *first)
{
	for (const Field *field = fields; field->key != NULL; field++)
	{
		const char *place = (const char *) base + field->offset;

		if (field->type == FIELD_CUSTOM)
			continue;
		if (!*first)
			appendStringInfoString(out, ", ");
		*first = false;
		escape_json(out, field->key);
		appendStringInfoString(out, ": ");
		switch (field->type)
		{
			case FIELD_BOOL:
				appendStringInfoString(out, *(const bool *) place ? "true" : "false");
				break;
			case FIELD_FLAG:
				appendStringInfoString(out, *(const int *) place != 0 ? "true" : "false");
				break;
			case FIELD_UINT32:
				appendStringInfo(out, "%u", *(const uint32 *) place);
				break;
			case FIELD_UINT64:
				appendStringInfo(out, UINT64_FORMAT, *(const uint64 *) place);
				break;
			case FIELD_REAL:
				appendStringInfoString(out, number_text(*(const double *) place));
				break;
			case FIELD_CHOICE:
				escape_json(out, field->choices[*(const int *) place]);
				break;
			case FIELD_WIDTHS:
			{
				const DsTowerConfig *tower = (const DsTowerConfig *) place;

				appendStringInfoChar(out, '[');
				for (uint32 i = 0; i < tower->dense_count; i++)
					appendStringInfo(out, "%s%u", i > 0 ? ", " : "", tower->dense[i]);
				appendStringInfoChar(out, ']');
				break;
			}
			case FIELD_OBJECT:
			{
				bool nested = true;

				appendStringInfoChar(out, '{');
				write_fields(out, field->fields, place, &nested);
				appendStringInfoChar(out, '}');
				break;
			}
			case FIELD_CUSTOM:
				break;
		}
	}
}

static Jsonb *
finish_json(StringInfo out)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out->data)));
}

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
	write_fields(&out, training_fields, &config->training, &first);
	appendStringInfoString(&out, "}, ");
	for (int t = 0; t < ds_config_towers(config); t++)
	{
		Tower tower = {config->tokenizer[t], config->tower[t]};

		first = true;
		if (!config->shared)
			appendStringInfo(&out, "%s\"%s\": {", t > 0 ? ", " : "",
							 ds_config_tower_name(config, t));
		write_fields(&out, tower_fields, &tower, &first);
		if (!config->shared)
			appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, '}');
	return finish_json(&out);
}

Jsonb *
ds_run_options_write(const DsRunOptions *options)
{
	StringInfoData out;
	bool first = true;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	write_fields(&out, run_fields, options, &first);
	appendStringInfoChar(&out, '}');
	return finish_json(&out);
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

int
ds_config_towers(const DsModelConfig *config)
{
	return config->shared ? 1 : 2;
}

const char *
ds_config_tower_name(const DsModelConfig *config, int tower)
{
	if (config->shared)
		return "shared";
	return tower == DS_SIDE_QUERY ? "query" : "document";
}
