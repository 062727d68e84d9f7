/*
 * import_dual.c
 *		ds_import_model() of a dual encoder that was exported: the model as it was, which
 *		can be trained further.
 *
 * What the files say is not trusted: the config is read as ds_create_model() reads one, and
 * laying the version out checks tokenizers, and that each tensor is there in its shape.
 */
#include "model/dual_folder.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/json.h"
#include "format/safetensors.h"
#include "model/create.h"
#include "model/store.h"
#include "model/version.h"
#include "nn/training.h"

#define CONFIG_MAX ((size_t) 1 << 20)
#define PIECE ((size_t) 1 << 20)
/* bytes of a tokenizer of the largest vocabulary, at most */
#define TOKENIZER_MAX ((uint64) 1 << 29)

typedef struct Import
{
	DsFiles *files;
	const DsFolder *folder;
	DsArena arena;
	DsArena scratch;
	DsModelConfig config;
	DsTensorFiles tensors;
	uint64 tokenizer[2]; /* bytes, by tower */
} Import;

static char *
load_config(DsFiles *files, DsArena *arena, size_t *length)
{
	char *text;
	DsStatus status;

	ds_files_check(files,
				   ds_folder_load(ds_files_folder(files), "config.json", CONFIG_MAX, arena, &text,
								  length, &status),
				   &status);
	return text;
}

bool
ds_dual_folder_is(DsFiles *files)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch config", ALLOCSET_DEFAULT_SIZES);
	DsArena arena;
	DsStatus status;
	DsJson root;
	char *text;
	size_t length;
	bool is = false;
	bool exists;
	uint64_t size;
	const DsFolder *folder = ds_files_folder(files);

	ds_server_arena(&arena, context);
	/* (larger ones are no concern of this reader) */
	ds_files_check(files, folder->look(folder->context, "config.json", &exists, &size, &status),
				   &status);
	if (exists && size <= CONFIG_MAX)
	{
		text = load_config(files, &arena, &length);
		is = ds_json_parse(text, length, "config.json", &root, &status) == DS_OK &&
			 ds_json_string_is(ds_json_member(root, "model_type"), DS_DUAL_FAMILY);
	}
	MemoryContextDelete(context);
	return is;
}

static void
bad_folder(const Import *import, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("%s: %s", ds_files_place(import->files), what)));
}

static void
read_config(Import *import)
{
	DsJson root, config;
	DsStatus status;
	int64_t version;
	size_t length;
	char *text = load_config(import->files, &import->arena, &length);

	ds_check(ds_json_parse(text, length, "config.json", &root, &status), &status);
	if (!ds_json_integer(ds_json_member(root, "version"), &version) || version < 1)
		bad_folder(import, "config.json has no version");
	if (version > DS_DUAL_VERSION)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the folder has version " INT64_FORMAT ", this program knows %d",
							   version, DS_DUAL_VERSION)));
	config = ds_json_member(root, "config");
	if (ds_json_kind(config) != DS_JSON_OBJECT)
		bad_folder(import, "config.json has no config");
	text = pnstrdup(config.at, (Size) (ds_json_skip(config) - config.at));
	ds_config_read(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))),
				   &import->config);
}

/* Is it one of a tower of this config, or the temperature? */
static bool
belongs(const Import *import, const char *name)
{
	const char *dot = strchr(name, '.');

	if (dot == NULL)
		return strcmp(name, "log_scale") == 0;
	for (int t = 0; t < ds_config_towers(&import->config); t++)
	{
		const char *tower = ds_config_tower_name(&import->config, t);

		if (strlen(tower) == (size_t) (dot - name) && strncmp(name, tower, strlen(tower)) == 0)
			return strcmp(dot, ".tokenizer") != 0;
	}
	return false;
}

static void
read_tensors(Import *import, DsVersionRow *row)
{
	DsStatus status;
	const char *precision = "f32";

	ds_files_check(import->files,
				   ds_safetensors_open(import->folder, "model.safetensors", &import->arena,
									   &import->scratch, &import->tensors, &status),
				   &status);
	for (size_t i = 0; i < import->tensors.count; i++)
	{
		const DsTensorInfo *tensor = &import->tensors.tensors[i];
		char shown[DS_SHOWN_SIZE];

		if (strlen(tensor->name) >= DS_SPEC_NAME || strchr(tensor->name, '#') != NULL ||
			!belongs(import, tensor->name))
			bad_folder(import, psprintf("the model's config has no tensor \"%s\"",
										ds_shown(shown, tensor->name)));
		if (tensor->dtype == DS_DTYPE_F16)
			precision = "fp16";
		else if (tensor->dtype == DS_DTYPE_BF16)
			precision = "bf16";
		else if (tensor->dtype != DS_DTYPE_F32)
			bad_folder(import, psprintf("tensor \"%s\" has type %s", ds_shown(shown, tensor->name),
										ds_dtype_name(tensor->dtype)));
		row->parameters += (int64) tensor->elements;
		row->bytes += (int64) tensor->bytes;
	}
	row->precision = precision;
	for (int t = 0; t < ds_config_towers(&import->config); t++)
	{
		char *name = psprintf("%s." DS_NGRAM_TABLE, ds_config_tower_name(&import->config, t));
		bool exists;

		if (!ds_config_has_texts(&import->config, t))
			continue;
		ds_files_check(import->files,
					   import->folder->look(import->folder->context, name, &exists,
											&import->tokenizer[t], &status),
					   &status);
		if (!exists)
			bad_folder(import, psprintf("file \"%s\" is missing", name));
		if (import->tokenizer[t] > TOKENIZER_MAX)
			bad_folder(import, psprintf("file \"%s\" is too large for a tokenizer", name));
		row->bytes += (int64) import->tokenizer[t];
	}
}

static void
write_tensor(Import *import, DsModelKey key, const DsTensorInfo *tensor, char *buffer)
{
	DsStored stored = {.dtype = tensor->dtype, .rank = (int) tensor->rank};
	DsTensorWriter *writer;
	DsStatus status;

	strlcpy(stored.name, tensor->name, sizeof(stored.name));
	for (uint32 d = 0; d < tensor->rank; d++)
		stored.shape[d] = (int64) tensor->shape[d];
	ds_stored_size(&stored);
	writer = ds_store_begin(key, &stored);
	for (uint64 offset = 0; offset < stored.bytes;)
	{
		size_t n = Min(stored.bytes - offset, PIECE);

		ds_files_check(import->files,
					   ds_tensors_read(&import->tensors, tensor, offset, buffer, n, &status),
					   &status);
		ds_store_put(writer, buffer, n);
		offset += n;
	}
	ds_store_end(writer);
}

static void
write_tokenizer(Import *import, DsModelKey key, int tower, char *buffer)
{
	const char *name = ds_config_tower_name(&import->config, tower);
	DsStored stored = {
		.dtype = DS_DTYPE_U8, .rank = 1, .shape = {(int64) import->tokenizer[tower]}};
	DsTensorWriter *writer;
	DsStatus status;

	snprintf(stored.name, sizeof(stored.name), "%s.tokenizer", name);
	ds_stored_size(&stored);
	writer = ds_store_begin(key, &stored);
	for (uint64 offset = 0; offset < stored.bytes;)
	{
		size_t n = Min(stored.bytes - offset, PIECE);

		ds_files_check(import->files,
					   import->folder->read(import->folder->context,
											psprintf("%s." DS_NGRAM_TABLE, name), offset, buffer, n,
											&status),
					   &status);
		ds_store_put(writer, buffer, n);
		offset += n;
	}
	ds_store_end(writer);
}

void
ds_dual_folder_import(const char *name, DsFiles *files, uint32 keep_versions)
{
	Import *import = palloc0(sizeof(Import));
	DsNet *net = palloc(sizeof(DsNet));
	char *buffer = palloc(PIECE);
	static const uint32_t any[2] = {1, 1};
	DsVersionRow row = {0};
	DsModelKey key;

	import->files = files;
	import->folder = ds_files_folder(files);
	ds_server_arena(&import->arena, CurrentMemoryContext);
	ds_server_arena(&import->scratch, CurrentMemoryContext);
	read_config(import);
	read_tensors(import, &row);
	ds_config_net(&import->config, any, net);
	row.config = ds_config_write(&import->config);
	row.dims = (int32) ds_net_dims(net);
	row.source = psprintf("imported from %s", ds_files_place(files));
	key = ds_version_insert(ds_model_create(name, row.config, row.dims), name, &row);
	for (int t = 0; t < ds_config_towers(&import->config); t++)
		if (ds_config_has_texts(&import->config, t))
			write_tokenizer(import, key, t, buffer);
	for (size_t i = 0; i < import->tensors.count; i++)
		write_tensor(import, key, &import->tensors.tensors[i], buffer);
	ds_version_finish(key, keep_versions, true);

	/* checks what the config wants */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) ds_model_open(key);
	PopActiveSnapshot();
	ereport(NOTICE, (errmsg("model \"%s\" has version %d: a dual encoder, " INT64_FORMAT
							" parameters, %d dimensions",
							name, key.version, row.parameters, row.dims)));
}
