/*
 * create_encoder.c
 *		ds_create_model() with "encoder" in its config: transformers that were not
 *		imported, but made to be trained here.
 *
 *	   {"encoder": {"layers": 4, "hidden": 256, "heads": 4, "outputs": 1},
 *		"tokenizer": {"model": "bge"}}
 *	   {"encoder": {"from": "bge", "layers": 6, "outputs": 1}}
 *
 * Such a model has its first version at once, with random weights, or with those
 * of another model as far as that has them: a head that it does not have is
 * random, layers that are left out are left out.  From there on it is like one
 * that was imported.
 */
#include "model/model.h"

#include <sys/mman.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "model/create.h"
#include "model/delta.h"
#include "model/fields.h"
#include "model/stored_source.h"
#include "model/version.h"
#include "nn/training.h"

#define LAYERS 6
#define HIDDEN 384
#define HEAD_DIMS 64
#define MAX_TOKENS 128

typedef struct EncoderFields
{
	char *from;
	uint32 layers; /* 0: not given; so with the others */
	uint32 hidden;
	uint32 heads;
	uint32 intermediate;
	uint32 max_tokens;
	int activation;
	int pooling;
	uint32 dims;
	uint32 outputs;
	bool normalize;
	uint64 seed;
} EncoderFields;

typedef struct TokenizerFields
{
	char *model;
	char *vocab;
	char *json;
	bool lowercase;
	bool chinese;
} TokenizerFields;

typedef struct PromptFields
{
	char *query;
	char *document;
} PromptFields;

typedef struct Root
{
	EncoderFields encoder;
	TokenizerFields tokenizer;
	PromptFields prompts;
	int precision;
} Root;

/* what comes first means "not given" */
static const char *const activations[] = {"default", "gelu", "gelu_tanh", "quick_gelu",
										  "relu",	 "silu", NULL};
static const char *const poolings[] = {"default", "mean", "cls", NULL};
static const char *const precisions[] = {"default", "f32", "bf16", "int8", NULL};

static const Field encoder_fields[] = {
	TEXT("from", EncoderFields, from),
	UINT32("layers", EncoderFields, layers, 1, DS_SPEC_MAX_LAYERS),
	UINT32("hidden", EncoderFields, hidden, 1, DS_SPEC_MAX_HIDDEN),
	UINT32("heads", EncoderFields, heads, 1, DS_SPEC_MAX_HEADS),
	UINT32("intermediate", EncoderFields, intermediate, 1, DS_SPEC_MAX_INTERMEDIATE),
	UINT32("max_tokens", EncoderFields, max_tokens, 3, DS_SPEC_MAX_TOKENS),
	CHOICE("activation", EncoderFields, activation, activations),
	CHOICE("pooling", EncoderFields, pooling, poolings),
	UINT32("dims", EncoderFields, dims, 1, DS_SPEC_MAX_HIDDEN),
	UINT32("outputs", EncoderFields, outputs, 0, 1000),
	BOOL("normalize", EncoderFields, normalize),
	{"seed", FIELD_UINT64, offsetof(EncoderFields, seed), 0, EXACT_MAX, false, false, NULL, NULL},
	END,
};

static const Field tokenizer_fields[] = {
	TEXT("model", TokenizerFields, model),	   TEXT("vocab", TokenizerFields, vocab),
	TEXT("json", TokenizerFields, json),	   BOOL("lowercase", TokenizerFields, lowercase),
	BOOL("chinese", TokenizerFields, chinese), END,
};

static const Field prompt_fields[] = {
	TEXT("query", PromptFields, query),
	TEXT("document", PromptFields, document),
	END,
};

static const Field root_fields[] = {
	OBJECT("encoder", offsetof(Root, encoder), encoder_fields),
	OBJECT("tokenizer", offsetof(Root, tokenizer), tokenizer_fields),
	OBJECT("prompts", offsetof(Root, prompts), prompt_fields),
	CHOICE("precision", Root, precision, precisions),
	END,
};

typedef struct Creation
{
	char *name;
	Root root;
	DsImportedConfig config;
	DsModel *from; /* pinned; whose weights it begins with, or NULL */
	bool new_head;
	DsModel *teller; /* pinned; whose tokenizer it has, or NULL */
	const char *file; /* the tokenizer's, where it is none's */
	size_t file_size;
	void *block;
	size_t block_size;
	DsTrainer *trainer;
	DsArena arena;
} Creation;

static void
leave(void *argument)
{
	Creation *creation = argument;

	if (creation->from != NULL)
		ds_model_unpin(creation->from);
	if (creation->teller != NULL)
		ds_model_unpin(creation->teller);
	if (creation->block != NULL)
		munmap(creation->block, creation->block_size);
}

static void
refuse(const char *message)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message)));
}

static DsModel *
open_other(const char *name, const char *key)
{
	DsModel *model = ds_model_open(ds_model_resolve(name));

	if (!model->imported || !model->pretrained.texts)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\": model \"%s\" is not a transformer", key, name)));
	ds_model_pin(model);
	return model;
}

/* ---- the tokenizer ---- */

static char *
utf8_of(const char *text, size_t *length)
{
	DsText utf8 = ds_text_utf8(text, strlen(text));

	*length = utf8.length;
	return pnstrdup(utf8.data, utf8.length);
}

/* Returns the number of tokens. */
static uint32
choose_tokenizer(Creation *creation)
{
	const TokenizerFields *fields = &creation->root.tokenizer;
	DsImportedConfig *config = &creation->config;
	int given = (fields->model != NULL) + (fields->vocab != NULL) + (fields->json != NULL);
	DsSubword subword;
	DsStatus status;
	void *blob;
	size_t size;

	if (given > 1)
		refuse("a tokenizer has one of \"model\", \"vocab\" and \"json\"");
	if (creation->from != NULL)
	{
		if (given > 0)
			refuse("\"tokenizer\" and \"encoder.from\" exclude each other: weights belong to their "
				   "tokenizer");
		return creation->from->subword.vocabulary;
	}
	if (given == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("an encoder needs a tokenizer"),
				 errhint("\"tokenizer\" has \"model\", whose tokenizer it gets, or \"vocab\", the "
						 "lines of a vocab.txt, or \"json\", the text of a tokenizer.json.")));
	config->special = true;
	config->drop_id = DS_SPEC_NO_ID;
	if (fields->model != NULL)
	{
		const DsImportedConfig *other;

		creation->teller = open_other(fields->model, "tokenizer.model");
		other = &creation->teller->pretrained;
		config->vocab = other->vocab;
		config->vocab_options = other->vocab_options;
		config->special = other->special;
		config->drop_id = other->drop_id;
		return creation->teller->subword.vocabulary;
	}
	config->vocab = fields->vocab != NULL;
	config->vocab_options.lowercase = fields->lowercase;
	config->vocab_options.strip_accents = -1;
	config->vocab_options.chinese = fields->chinese;
	creation->file = utf8_of(config->vocab ? fields->vocab : fields->json, &creation->file_size);
	ds_imported_tokenizer(config, creation->file, creation->file_size,
						  config->vocab ? "tokenizer.vocab" : "tokenizer.json", &creation->arena,
						  &blob, &size);
	ds_check(ds_subword_open(&subword, blob, size, &status), &status);
	return subword.vocabulary;
}

/* ---- the shape ---- */

static void
add_module(DsEncoderSpec *spec, DsModuleKind kind, uint32 in, uint32 out, DsActivation activation)
{
	DsSpecModule *module = &spec->modules[spec->module_count++];

	module->kind = kind;
	module->in = in;
	module->out = out;
	module->activation = kind == DS_MODULE_DENSE ? activation : 0;
	module->bias = kind == DS_MODULE_DENSE;
}

/* Behind the layers: as BERT's pooler and classifier, or an embedding */
static void
make_head(DsEncoderSpec *spec, const EncoderFields *fields)
{
	uint32 h = spec->hidden;

	memset(spec->modules, 0, sizeof(spec->modules));
	spec->module_count = 0;
	spec->scores = fields->outputs > 0;
	spec->pooling = fields->pooling == 1 || (fields->pooling == 0 && !spec->scores) ? DS_POOL_MEAN
																					: DS_POOL_CLS;
	if (spec->scores)
	{
		if (fields->dims > 0)
			refuse(
				"\"dims\" and \"outputs\" exclude each other: a cross-encoder gives no embeddings");
		add_module(spec, DS_MODULE_DENSE, h, h, DS_ACT_TANH);
		add_module(spec, DS_MODULE_DENSE, h, fields->outputs,
				   fields->outputs == 1 ? DS_ACT_SIGMOID : DS_ACT_IDENTITY);
		return;
	}
	if (fields->dims > 0)
		add_module(spec, DS_MODULE_DENSE, h, fields->dims, DS_ACT_IDENTITY);
	if (fields->normalize)
		add_module(spec, DS_MODULE_NORMALIZE, fields->dims > 0 ? fields->dims : h,
				   fields->dims > 0 ? fields->dims : h, DS_ACT_IDENTITY);
}

static void
make_spec(Creation *creation, uint32 vocabulary)
{
	const EncoderFields *fields = &creation->root.encoder;
	DsEncoderSpec *spec = &creation->config.spec;
	DsStatus status;

	creation->new_head =
		creation->from == NULL || fields->pooling > 0 || fields->dims > 0 || fields->outputs > 0;
	if (creation->from != NULL)
	{
		if (fields->hidden > 0 || fields->heads > 0 || fields->intermediate > 0 ||
			fields->activation > 0)
			refuse("the layers of an encoder \"from\" another model are that model's; only their "
				   "number can be less");
		if (fields->layers > spec->layers)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("model \"%s\" has %u layers, not %u", fields->from, spec->layers,
								   fields->layers)));
		if (fields->layers > 0)
			spec->layers = fields->layers;
		if (fields->max_tokens > spec->max_tokens && spec->max_tokens > 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("model \"%s\" takes %u tokens, not %u", fields->from,
								   spec->max_tokens, fields->max_tokens)));
		if (fields->max_tokens > 0)
			spec->max_tokens = fields->max_tokens;
	}
	else
	{
		ds_spec_init(spec, DS_ENCODER_TRANSFORMER);
		strlcpy(spec->family, "bert", sizeof(spec->family));
		spec->vocabulary = vocabulary;
		spec->hidden = fields->hidden > 0 ? fields->hidden : HIDDEN;
		spec->layers = fields->layers > 0 ? fields->layers : LAYERS;
		spec->heads = fields->heads > 0 ? fields->heads : Max(spec->hidden / HEAD_DIMS, 1);
		if (spec->hidden % spec->heads != 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("%u components cannot be cut into %u heads", spec->hidden,
								   spec->heads)));
		spec->head_dims = spec->hidden / spec->heads;
		spec->intermediate = fields->intermediate > 0 ? fields->intermediate : 4 * spec->hidden;
		spec->activation = fields->activation > 0 ? (uint32) fields->activation : DS_ACT_GELU;
		spec->max_tokens = spec->positions =
			fields->max_tokens > 0 ? fields->max_tokens : MAX_TOKENS;
		spec->types = 2;
		spec->embedding_norm = 1;
		spec->norm_epsilon = 1e-12f;
		spec->norm_bias = spec->qkv_bias = spec->out_bias = spec->up_bias = spec->down_bias = 1;
	}
	if (creation->new_head)
		make_head(spec, fields);
	ds_check(ds_spec_check(spec, &status), &status);
}

/* ---- the weights ---- */

typedef struct HeadlessSource
{
	DsTensorSource source;
	bool new_head;
} HeadlessSource;

static bool
find(void *context, const char *name, uint64_t *values)
{
	HeadlessSource *source = context;

	/* a new head may have names of the old one */
	if (source->new_head && strncmp(name, "module.", strlen("module.")) == 0)
		return false;
	return source->source.find(source->source.context, name, values);
}

static DsCode
read_values(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	HeadlessSource *source = context;

	return source->source.read(source->source.context, name, first, count, out, status);
}

/* The trainer knows how weights begin. */
static void
make_trainer(Creation *creation)
{
	const DsEncoderSpec *spec = &creation->config.spec;
	DsTrainConfig config = ds_train_defaults;
	DsTrainLimits limits = {1, 1, 2, 2};
	DsNet *net = palloc0(sizeof(DsNet));
	DsStatus status;
	DsCode code;

	net->kind = spec->scores > 0 ? DS_NET_SINGLE : DS_NET_DUAL;
	net->shared = true;
	net->score = DS_SCORE_COSINE;
	for (int t = 0; t < 2; t++)
	{
		net->tower[t].body = DS_BODY_TRANSFORMER;
		net->tower[t].spec = *spec;
	}
	config.seed = creation->root.encoder.seed;
	config.schedule.kind = DS_SCHEDULE_CONSTANT;
	if (spec->scores > 0)
		config.loss = creation->root.encoder.outputs > 1 ? DS_LOSS_CLASSES : DS_LOSS_REGRESSION;
	code = ds_trainer_size(net, &config, &limits, &creation->block_size, &status);
	if (code == DS_OK)
	{
		/* pages that nobody touches cost nothing */
		void *block = mmap(NULL, creation->block_size, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (block == MAP_FAILED)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		creation->block = block;
		code = ds_trainer_format(block, creation->block_size, net, &config, &limits, &status);
	}
	if (code == DS_OK)
		code = ds_trainer_attach(creation->block, creation->block_size, &creation->arena,
								 &creation->trainer, &status);
	if (code == DS_UNSUPPORTED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s", status.message)));
	ds_check(code, &status);
	ds_trainer_initialize(creation->trainer);
}

static void
load_weights(Creation *creation)
{
	DsReader reader;
	DsStoredSource stored;
	HeadlessSource headless = {.new_head = creation->new_head};
	DsTensorSource source = {&headless, find, read_values};
	DsStatus status;

	ds_delta_open(&reader, creation->from->key);
	headless.source = ds_stored_source(
		&stored, &reader, ds_imported_prefix(&creation->from->pretrained, DS_SIDE_DOCUMENT));
	ds_guard_check(&stored.guard,
				   ds_trainer_load(creation->trainer, 0, &source, creation->new_head,
								   &ds_server_cancel, &status),
				   &status);
	ds_reader_close(&reader);
}

/* ---- the version ---- */

static void
write_tokenizer(Creation *creation, DsModelKey key)
{
	const DsModel *other = creation->from != NULL ? creation->from : creation->teller;

	if (other != NULL)
		ds_store_copy(other->key, DS_TOKENIZER_TENSOR, key);
	else
	{
		DsTensorData tensor = {.name = DS_TOKENIZER_TENSOR,
							   .dtype = DS_DTYPE_U8,
							   .shape_count = 1,
							   .shape = {(int64) creation->file_size},
							   .data = creation->file,
							   .bytes = creation->file_size};

		ds_store_write(key, &tensor, 1);
	}
}

static void
write_version(Creation *creation)
{
	DsTrainer *trainer = creation->trainer;
	size_t count = ds_trainer_parameters(trainer);
	DsTensorData *tensors = palloc0(sizeof(DsTensorData) * count);
	DsVersionRow row = {0};
	int used = 0;
	DsModelKey key;

	for (size_t i = 0; i < count; i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);
		const char *dot = strchr(parameter.name, '.');
		DsTensorData *tensor = &tensors[used];

		if (dot == NULL)
			continue; /* the temperature */
		tensor->name = dot + 1;
		tensor->dtype = DS_DTYPE_F32;
		tensor->shape_count = (int) parameter.shape_count;
		for (uint32 d = 0; d < parameter.shape_count; d++)
			tensor->shape[d] = (int64) parameter.shape[d];
		tensor->data = parameter.value;
		tensor->bytes = sizeof(float) * parameter.count;
		row.parameters += (int64) parameter.count;
		row.bytes += (int64) tensor->bytes;
		used++;
	}
	row.bytes += (int64) creation->file_size;
	row.config = ds_imported_config_write(&creation->config);
	row.dims = (int32) ds_spec_dims(&creation->config.spec);
	row.precision = ds_precision_name(creation->config.precision);
	row.source = creation->from == NULL
					 ? "random weights"
					 : psprintf("weights of model \"%s\"", creation->root.encoder.from);
	key = ds_version_insert(ds_model_create(creation->name, row.config, row.dims), creation->name,
							&row);
	write_tokenizer(creation, key);
	ds_store_write(key, tensors, used);
	ds_version_finish(key, 1, true);
}

static void
set_prompt(char **prompt, const char *given)
{
	size_t length;

	if (given != NULL)
		*prompt = utf8_of(given, &length);
	else if (*prompt == NULL)
		*prompt = pstrdup("");
}

void
ds_encoder_create(const char *name, Jsonb *json)
{
	Creation *creation = palloc0(sizeof(Creation));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	Root *root = &creation->root;
	DsImportedConfig *config = &creation->config;
	uint32 vocabulary;

	creation->name = pstrdup(name);
	root->encoder.normalize = true;
	root->encoder.seed = 1;
	root->tokenizer.lowercase = root->tokenizer.chinese = true;
	ds_fields_read(json, "config", "config key", root_fields, root);
	ds_server_arena(&creation->arena, CurrentMemoryContext);
	callback->func = leave;
	callback->arg = creation;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);

	if (root->encoder.from != NULL)
	{
		creation->from = open_other(root->encoder.from, "encoder.from");
		*config = creation->from->pretrained;
		config->separate = false;
	}
	/* of a pair of towers, the one for texts */
	config->texts = true;
	config->images = false;
	if (root->precision > 0)
		config->precision = (DsPrecision) root->precision;
	else if (creation->from == NULL)
		config->precision = DS_PRECISION_F32;
	vocabulary = choose_tokenizer(creation);
	make_spec(creation, vocabulary);
	set_prompt(&config->prompt[DS_SIDE_QUERY], root->prompts.query);
	set_prompt(&config->prompt[DS_SIDE_DOCUMENT], root->prompts.document);
	make_trainer(creation);
	SPI_connect();
	if (creation->from != NULL)
		load_weights(creation);
	write_version(creation);
	SPI_finish();
}
