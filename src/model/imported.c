/*
 * imported.c
 *		The config of an imported model.
 *
 *	   {"family": "bert", "precision": "f32",
 *		"encoder": {... what ds_spec_write() says ...},
 *		"tokenizer": {"file": "tokenizer.json", "special": true},
 *		"prompts": {"query": "query: ", "document": ""},
 *		"towers": "separate"}		where queries and documents have an encoder each
 *
 * It is written by ds_imported_config_write() alone, so what cannot be read is damage.
 */
#include "model/imported.h"

#include <sys/mman.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"

#define MAP_HEADER 64

bool
ds_config_is_imported(Jsonb *config)
{
	JsonbValue found;

	return JB_ROOT_IS_OBJECT(config) &&
		   getKeyJsonValueFromContainer(&config->root, "encoder", strlen("encoder"), &found) !=
			   NULL;
}

static char *
string_of(DsJson value)
{
	char *out;

	if (ds_json_kind(value) != DS_JSON_STRING)
		return pstrdup("");
	out = palloc(ds_json_string_size(value) + 1);
	out[ds_json_string_copy(value, out)] = '\0';
	return out;
}

static DsPrecision
precision_of(DsJson value)
{
	for (uint32 p = 1; ds_precision_name(p) != NULL; p++)
		if (ds_json_kind(value) == DS_JSON_STRING && ds_json_string_is(value, ds_precision_name(p)))
			return (DsPrecision) p;
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("the model has no known precision")));
	return DS_PRECISION_F32; /* not reached */
}

static void
read_tokenizer(DsJson json, DsImportedConfig *config)
{
	DsJson file, special, drop, lowercase, accents, chinese, length;
	const DsJsonWanted wanted[] = {
		{"file", &file},		   {"special", &special},		{"drop", &drop},
		{"lowercase", &lowercase}, {"strip_accents", &accents}, {"chinese", &chinese},
		{"max_length", &length}};
	int64_t number;
	bool flag;

	ds_json_members(json, wanted, lengthof(wanted));
	config->vocab = ds_json_kind(file) == DS_JSON_STRING && ds_json_string_is(file, "vocab.txt");
	config->special = ds_json_bool(special, &flag) ? flag : true;
	config->drop_id = ds_json_integer(drop, &number) ? (uint32) number : DS_SPEC_NO_ID;
	config->vocab_options.lowercase = ds_json_bool(lowercase, &flag) && flag;
	config->vocab_options.strip_accents = ds_json_bool(accents, &flag) ? (int) flag : -1;
	config->vocab_options.chinese = ds_json_bool(chinese, &flag) ? flag : true;
	config->vocab_options.max_length = ds_json_integer(length, &number) ? (uint32) number : 0;
}

void
ds_imported_config_read(Jsonb *json, DsImportedConfig *config)
{
	char *text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	DsJson root, encoder, precision, tokenizer, prompts, towers;
	const DsJsonWanted wanted[] = {{"encoder", &encoder},
								   {"precision", &precision},
								   {"tokenizer", &tokenizer},
								   {"prompts", &prompts},
								   {"towers", &towers}};
	DsText utf8 = ds_text_utf8(text, strlen(text));
	DsStatus status;

	memset(config, 0, sizeof(*config));
	ds_check(ds_json_parse(utf8.data, utf8.length, "config", &root, &status), &status);
	ds_json_members(root, wanted, lengthof(wanted));
	ds_check(ds_spec_read(encoder, &config->spec, &status), &status);
	config->precision = precision_of(precision);
	read_tokenizer(tokenizer, config);
	config->prompt[DS_SIDE_QUERY] = string_of(ds_json_member(prompts, "query"));
	config->prompt[DS_SIDE_DOCUMENT] = string_of(ds_json_member(prompts, "document"));
	config->separate =
		ds_json_kind(towers) == DS_JSON_STRING && ds_json_string_is(towers, "separate");
}

/* UTF-8 as a string of JSON, in the database's encoding */
static void
append_string(StringInfo out, const char *utf8)
{
	escape_json(out, ds_text_server(utf8, strlen(utf8)));
}

Jsonb *
ds_imported_config_write(const DsImportedConfig *config)
{
	size_t size = ds_spec_write(&config->spec, NULL, 0) + 1;
	char *spec = palloc(size);
	StringInfoData out;

	ds_spec_write(&config->spec, spec, size);
	initStringInfo(&out);
	appendStringInfo(&out, "{\"family\": \"%s\", \"precision\": \"%s\", \"encoder\": %s",
					 config->spec.family, ds_precision_name(config->precision), spec);
	appendStringInfo(&out, ", \"tokenizer\": {\"file\": \"%s\", \"special\": %s",
					 config->vocab ? "vocab.txt" : "tokenizer.json",
					 config->special ? "true" : "false");
	if (config->drop_id != DS_SPEC_NO_ID)
		appendStringInfo(&out, ", \"drop\": %u", config->drop_id);
	if (config->vocab)
	{
		appendStringInfo(&out, ", \"lowercase\": %s, \"chinese\": %s, \"max_length\": %u",
						 config->vocab_options.lowercase ? "true" : "false",
						 config->vocab_options.chinese ? "true" : "false",
						 config->vocab_options.max_length);
		if (config->vocab_options.strip_accents >= 0)
			appendStringInfo(&out, ", \"strip_accents\": %s",
							 config->vocab_options.strip_accents ? "true" : "false");
	}
	appendStringInfoString(&out, "}, \"prompts\": {\"query\": ");
	append_string(&out, config->prompt[DS_SIDE_QUERY]);
	appendStringInfoString(&out, ", \"document\": ");
	append_string(&out, config->prompt[DS_SIDE_DOCUMENT]);
	appendStringInfoString(&out, config->separate ? "}, \"towers\": \"separate\"}" : "}}");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

int
ds_imported_towers(const DsImportedConfig *config)
{
	return config->separate ? 2 : 1;
}

const char *
ds_imported_prefix(const DsImportedConfig *config, int tower)
{
	return !config->separate ? "" : tower == DS_SIDE_QUERY ? "query." : "document.";
}

/*
 * Memory for compiling, past malloc(): that would keep arrays that are as large
 * as one given back before in its heap, with holes, and the process would grow
 * by half more.  No error is raised while there is some (a pure room runs).
 */
static void *
map_pages(void *context pg_attribute_unused(), size_t size)
{
	size_t *pages =
		mmap(NULL, size + MAP_HEADER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	*pages = size + MAP_HEADER;
	return (char *) pages + MAP_HEADER;
}

static void
unmap_pages(void *context pg_attribute_unused(), void *pointer)
{
	size_t *pages = (size_t *) ((char *) pointer - MAP_HEADER);

	munmap(pages, *pages);
}

void
ds_imported_tokenizer(const DsImportedConfig *config, const char *file, size_t length,
					  const char *name, DsArena *arena, void **blob, size_t *size)
{
	static const DsAllocator pages = {map_pages, unmap_pages, NULL};
	DsArena scratch;
	DsStatus status;
	DsCode code;

	ds_arena_init(&scratch, &pages);
	if (config->vocab)
		code = ds_subword_compile_vocab(file, length, name, &config->vocab_options, arena, &scratch,
										&ds_server_cancel, blob, size, &status);
	else
		code = ds_subword_compile(file, length, name, arena, &scratch, &ds_server_cancel, blob,
								  size, &status);
	ds_arena_free(&scratch);
	ds_check(code, &status);
}
