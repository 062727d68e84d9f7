/*
 * import.c
 *		ds_import_model(name, path [, options]): a trained model from its files.
 *
 * The readers of src/format check the files and describe what is in them: an
 * encoder, its tensors by the names that the forward pass knows, a tokenizer,
 * prompts.  The tensors go into ds_tensor as they are, a piece at a time, so
 * that a model takes no more memory the larger it is.  Then the version is laid
 * out as its first user would do it, which finds what is wrong with the
 * numbers.  All of it is one transaction: an error leaves nothing.
 */
#include "model/model.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "format/encoder_source.h"
#include "format/image_source.h"
#include "format/tf_bundle.h"
#include "model/catalog.h"
#include "model/create.h"
#include "model/dual_folder.h"
#include "model/store.h"
#include "model/upload.h"
#include "model/version.h"

#define BUFFER_SIZE ((size_t) 1 << 20)
#define DEFAULT_KEEP 2

typedef struct Import
{
	char *name;
	DsFiles *files;
	DsModelRow row; /* of a model that gets a new version */
	bool exists;

	/* options */
	DsPrecision precision;
	bool replace;
	uint32 keep_versions;
	uint32 max_tokens; /* 0: the model's */
	char *prompt[2]; /* UTF-8; NULL: the model's */

	DsArena arena;
	DsArena scratch;
	DsArena text; /* of the tokenizer's file */
	bool classes; /* of a classifier: its scores, not what comes before them */
	DsEncoderSource source; /* of texts */
	DsImageSource image; /* of pictures */
	DsImportedConfig config;
	const char *tokenizer; /* the file */
	size_t tokenizer_size;
	int64 bytes;
} Import;

/* ---- options ---- */

static void
wrong_option(const char *key, const char *expected)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("option \"%s\" must be %s", key, expected)));
}

static uint32
integer_option(const char *key, const JsonbValue *value, uint32 min, uint32 max)
{
	double number = -1;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= min && number <= max) || number != (uint32) number)
		wrong_option(key, psprintf("an integer from %u to %u", min, max));
	return (uint32) number;
}

static char *
string_option(const char *key, const JsonbValue *value)
{
	DsText utf8;

	if (value->type != jbvString)
		wrong_option(key, "a string");
	utf8 =
		ds_text_utf8(pnstrdup(value->val.string.val, value->val.string.len), value->val.string.len);
	return pnstrdup(utf8.data, utf8.length);
}

static void
read_option(Import *import, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "precision") == 0)
	{
		char *name = value->type == jbvString ? string_option(key, value) : "";

		import->precision = 0;
		for (uint32 p = 1; ds_precision_name(p) != NULL; p++)
			if (strcmp(ds_precision_name(p), name) == 0)
				import->precision = (DsPrecision) p;
		if (import->precision == 0)
			wrong_option(key, "\"f32\", \"bf16\" or \"int8\"");
	}
	else if (strcmp(key, "replace") == 0)
	{
		if (value->type != jbvBool)
			wrong_option(key, "true or false");
		import->replace = value->val.boolean;
	}
	else if (strcmp(key, "output") == 0)
	{
		char *name = value->type == jbvString ? string_option(key, value) : "";

		import->classes = strcmp(name, "classes") == 0;
		if (!import->classes && strcmp(name, "features") != 0)
			wrong_option(key, "\"features\" or \"classes\"");
	}
	else if (strcmp(key, "keep_versions") == 0)
		import->keep_versions = integer_option(key, value, 1, 1000000);
	else if (strcmp(key, "max_tokens") == 0)
		import->max_tokens = integer_option(key, value, 1, DS_SPEC_MAX_TOKENS);
	else if (strcmp(key, "query_prompt") == 0)
		import->prompt[DS_SIDE_QUERY] = string_option(key, value);
	else if (strcmp(key, "document_prompt") == 0)
		import->prompt[DS_SIDE_DOCUMENT] = string_option(key, value);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown option \"%s\"", key),
				 errhint("Valid options are: precision, replace, keep_versions, max_tokens, "
						 "query_prompt, document_prompt, output.")));
}

static void
read_options(Import *import, Jsonb *options)
{
	JsonbIterator *iterator = JsonbIteratorInit(&options->root);
	JsonbIteratorToken token;
	JsonbValue value;
	char *key = NULL;

	import->precision = DS_PRECISION_F32;
	import->keep_versions = DEFAULT_KEEP;
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"options\" must be an object")));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			read_option(import, key, &value);
	}
}

/* ---- the parts ---- */

static void
check_name(Import *import)
{
	ds_model_check_name(import->name);
	ds_model_lock(import->name, false);
	import->exists = ds_model_find(import->name, &import->row);
	if (!import->exists)
		return;
	if (!import->replace)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("model \"%s\" already exists", import->name),
						errhint("With the option {\"replace\": true} it gets a new version.")));
	ds_model_find_owned(import->name, &import->row);
	if (!ds_config_is_imported(import->row.config))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("model \"%s\" was not imported", import->name),
						errdetail("A model that is trained here gets its versions by ds_train.")));
}

static void
read_texts(Import *import)
{
	const DsFolder *folder = ds_files_folder(import->files);
	DsImportedConfig *config = &import->config;
	DsStatus status;
	void *blob;
	char *file;
	size_t size;

	ds_files_check(
		import->files,
		ds_encoder_source_open(folder, &import->arena, &import->scratch, &import->source, &status),
		&status);
	config->spec = import->source.spec;
	config->special = import->source.special;
	config->drop_id = import->source.unk_id;
	config->vocab = import->source.vocab;
	config->vocab_options = import->source.vocab_options;
	for (int side = 0; side < 2; side++)
	{
		config->prompt[side] = import->prompt[side];
		if (config->prompt[side] == NULL)
			config->prompt[side] =
				pstrdup(import->source.prompt[side] != NULL ? import->source.prompt[side] : "");
	}
	if (import->max_tokens > 0)
		config->spec.max_tokens = config->spec.max_tokens > 0
									  ? Min(config->spec.max_tokens, import->max_tokens)
									  : import->max_tokens;
	ds_check(ds_spec_check(&config->spec, &status), &status);

	ds_files_check(import->files,
				   ds_folder_load(folder, import->source.tokenizer_file, DS_SUBWORD_FILE_MAX,
								  &import->text, &file, &import->tokenizer_size, &status),
				   &status);
	import->tokenizer = file;
	if (!config->vocab)
	{
		const char *text;
		size_t length;

		ds_check(ds_source_tokenizer_text(&import->source, import->tokenizer,
										  import->tokenizer_size, &import->text, &text, &length,
										  &status),
				 &status);
		import->tokenizer = text;
		import->tokenizer_size = length;
	}
	/* what the tokenizer's file cannot do should show now, and not with the first text */
	ds_imported_tokenizer(config, import->tokenizer, import->tokenizer_size,
						  import->source.tokenizer_file, &import->scratch, &blob, &size);
	ds_arena_free(&import->scratch);
}

static void
read_images(Import *import)
{
	DsImportedConfig *config = &import->config;
	DsStatus status;

	ds_files_check(import->files,
				   ds_image_source_open(ds_files_folder(import->files), import->classes,
										&import->arena, &import->scratch, &import->image, &status),
				   &status);
	config->image = import->image.spec;
	config->transform = import->image.transform;
	if (config->image.channels != 3)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a network over pictures of %u channels is not supported",
							   config->image.channels)));
}

static void
read_files(Import *import)
{
	DsImportedConfig *config = &import->config;
	DsStatus status;
	uint32_t reads;

	ds_files_check(
		import->files,
		ds_source_reads(ds_files_folder(import->files), &import->scratch, &reads, &status),
		&status);
	config->precision = import->precision;
	config->texts = (reads & DS_READS_TEXTS) != 0;
	config->images = (reads & DS_READS_IMAGES) != 0;
	if (import->classes && !config->images)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"output\" is for models that read pictures")));
	if (!config->texts && (import->max_tokens > 0 || import->prompt[DS_SIDE_QUERY] != NULL ||
						   import->prompt[DS_SIDE_DOCUMENT] != NULL))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options max_tokens, query_prompt and document_prompt are for "
							   "models that read texts")));
	if (config->texts)
		read_texts(import);
	if (config->images)
		read_images(import);
	if (config->texts && config->images &&
		ds_spec_dims(&config->spec) != ds_image_spec_dims(&config->image))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("texts get %zu dimensions and pictures %zu",
							   ds_spec_dims(&config->spec), ds_image_spec_dims(&config->image))));
}

static void
describe(const DsSourceTensor *tensor, const char *prefix, DsStored *stored)
{
	const DsTensorInfo *info = tensor->info;

	memset(stored, 0, sizeof(*stored));
	snprintf(stored->name, sizeof(stored->name), "%s%s", prefix, tensor->name);
	stored->dtype = info->dtype;
	stored->rank = (int) info->rank;
	for (uint32 d = 0; d < info->rank; d++)
		stored->shape[d] = (int64) info->shape[d];
	ds_stored_size(stored);
}

static void
write_tokenizer(Import *import, DsModelKey key)
{
	DsTensorData tokenizer = {.name = DS_TOKENIZER_TENSOR,
							  .dtype = DS_DTYPE_U8,
							  .shape_count = 1,
							  .shape = {(int64) import->tokenizer_size},
							  .data = import->tokenizer,
							  .bytes = import->tokenizer_size};

	ds_store_write(key, &tokenizer, 1);
	ds_arena_free(&import->text);
	import->tokenizer = NULL;
}

/* prefix: before the neutral names */
static void
write_tensors(Import *import, DsModelKey key, const DsSourceTensor *tensors, size_t count,
			  const char *prefix)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch tensor", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	for (size_t i = 0; i < count; i++)
	{
		const DsSourceTensor *tensor = &tensors[i];
		char *buffer;
		DsStored stored;
		DsTensorWriter *writer;
		DsStatus status;
		pg_crc32c crc;

		MemoryContextReset(context);
		buffer = palloc(BUFFER_SIZE);
		describe(tensor, prefix, &stored);
		writer = ds_store_begin(key, &stored);
		INIT_CRC32C(crc);
		for (uint64 offset = 0; offset < stored.bytes;)
		{
			size_t n = Min(stored.bytes - offset, BUFFER_SIZE);

			ds_files_check(import->files,
						   ds_tensors_read(tensor->files, tensor->info, offset, buffer, n, &status),
						   &status);
			if (tensor->info->has_checksum)
				COMP_CRC32C(crc, buffer, n);
			ds_store_put(writer, buffer, n);
			offset += n;
		}
		FIN_CRC32C(crc);
		if (tensor->info->has_checksum && ds_crc32c_mask(crc) != tensor->info->checksum)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("tensor \"%s\" is damaged: its checksum does not match",
								   tensor->info->name)));
		ds_store_end(writer);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* A dual encoder that was exported comes back as it was. */
static void
import_dual(Import *import)
{
	if (import->exists)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("model \"%s\" was imported from another kind of folder", import->name),
				 errdetail("A dual encoder becomes a new model.")));
	if (import->precision != DS_PRECISION_F32 || import->classes || import->max_tokens > 0 ||
		import->prompt[DS_SIDE_QUERY] != NULL || import->prompt[DS_SIDE_DOCUMENT] != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a dual encoder is imported as it was, without options"),
						errhint("ds_quantize_model() makes it smaller.")));
	ds_dual_folder_import(import->name, import->files, import->keep_versions);
}

static void
import_model(Import *import)
{
	DsVersionRow row = {0};
	DsModelKey key;
	int32 id;

	check_name(import);
	if (ds_dual_folder_is(import->files))
	{
		import_dual(import);
		return;
	}
	read_files(import);
	row.config = ds_imported_config_write(&import->config);
	row.dims = ds_imported_dims(&import->config);
	row.precision = ds_precision_name(import->precision);
	row.parameters = ds_imported_parameters(&import->config);
	row.bytes = (int64) import->tokenizer_size;
	for (size_t i = 0; i < import->source.tensor_count; i++)
		row.bytes += (int64) import->source.tensors[i].info->bytes;
	for (size_t i = 0; i < import->image.tensor_count; i++)
		row.bytes += (int64) import->image.tensors[i].info->bytes;
	row.source = psprintf("imported from %s", ds_files_place(import->files));
	id = import->exists ? import->row.id : ds_model_create(import->name, row.config, row.dims);
	key = ds_version_insert(id, import->name, &row);
	if (import->config.texts)
		write_tokenizer(import, key);
	write_tensors(import, key, import->source.tensors, import->source.tensor_count, "");
	write_tensors(import, key, import->image.tensors, import->image.tensor_count, DS_IMAGE_PREFIX);
	ds_version_finish(key, import->keep_versions, true);

	/* lays it out, and so reads every number once */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) ds_model_open(key);
	PopActiveSnapshot();
	ereport(NOTICE,
			(errmsg("model \"%s\" has version %d: %s, " INT64_FORMAT " parameters, %d dimensions",
					import->name, key.version, ds_imported_family(&import->config), row.parameters,
					row.dims)));
}

DS_FUNCTION(ds_sql_import_model);
Datum
ds_sql_import_model(PG_FUNCTION_ARGS)
{
	Import *import = palloc0(sizeof(Import));
	int sources = !PG_ARGISNULL(1) + !PG_ARGISNULL(3) + !PG_ARGISNULL(4);

	PreventCommandIfReadOnly("ds_import_model()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("name must not be NULL")));
	if (sources != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a model is imported from one place: path, upload or "
							   "large_objects")));
	import->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(2))
		read_options(import, PG_GETARG_JSONB_P(2));
	else
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("options must not be NULL")));
	if (!PG_ARGISNULL(1))
		import->files = ds_files_server(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	else if (!PG_ARGISNULL(3))
		import->files = ds_files_upload(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	else
		import->files = ds_files_large_objects(PG_GETARG_JSONB_P(4));
	SPI_connect();
	ds_server_arena(&import->arena, CurrentMemoryContext);
	ds_server_arena(&import->scratch, CurrentMemoryContext);
	ds_server_arena(&import->text, CurrentMemoryContext);
	import_model(import);
	ds_files_close(import->files);
	SPI_finish();
	PG_RETURN_VOID();
}
