/*
 * imported.c
 *		The config of an imported model.
 *
 *	   {"family": "bert", "precision": "f32",
 *		"encoder": {... what ds_spec_write() says ...},
 *		"tokenizer": {"file": "tokenizer.json", "special": true},
 *		"prompts": {"query": "query: ", "document": ""},
 *		"towers": "separate",		where queries and documents have an encoder each
 *		"image": {"network": {... what ds_image_spec_write() says ...},
 *				  "transform": {"fit": "shortest", "height": 224, ...}}}
 *
 * "encoder", "tokenizer" and "prompts" are there where the model reads texts, and
 * "image" where it reads pictures.
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

#include "model/fields.h"

#define MAP_HEADER 64

bool
ds_config_is_imported(Jsonb *config)
{
	JsonbContainer *image = ds_fields_find_object(config, "image");
	JsonbValue found;

	if (!JB_ROOT_IS_OBJECT(config))
		return false;
	if (getKeyJsonValueFromContainer(&config->root, "encoder", strlen("encoder"), &found) != NULL)
		return true;
	/* that of a tower that is trained here has no transform: its size says it all */
	return image != NULL &&
		   getKeyJsonValueFromContainer(image, "transform", strlen("transform"), &found) != NULL;
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

/* ---- how pictures are made ready ---- */

static const char *const fits[] = {"none", "exact", "shortest", "longest"};
static const char *const filters[] = {"nearest", "lanczos", "bilinear",
									  "bicubic", "box",		"hamming"};

static void
damaged_transform(const char *key)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("the model's transform of pictures has no valid \"%s\"", key)));
}

static uint32
word_of(DsJson object, const char *key, const char *const *words, uint32 count)
{
	DsJson value = ds_json_member(object, key);

	for (uint32 i = 0; i < count; i++)
		if (ds_json_kind(value) == DS_JSON_STRING && ds_json_string_is(value, words[i]))
			return i;
	damaged_transform(key);
	return 0; /* not reached */
}

static uint32
number_of(DsJson object, const char *key)
{
	int64_t number;

	if (!ds_json_integer(ds_json_member(object, key), &number) || number < 0 ||
		number > PG_INT32_MAX)
		damaged_transform(key);
	return (uint32) number;
}

static void
three_of(DsJson object, const char *key, double out[3])
{
	int n = 0;

	for (DsJsonItem item = ds_json_items(ds_json_member(object, key)); ds_json_next(&item); n++)
		if (n == 3 || !ds_json_double(item.value, &out[n]))
			damaged_transform(key);
	if (n != 3)
		damaged_transform(key);
}

static void
read_transform(DsJson json, DsImageTransform *transform)
{
	double three[3];
	bool flag;

	ds_image_transform_init(transform);
	transform->fit = (DsImageFit) word_of(json, "fit", fits, lengthof(fits));
	transform->filter = (DsImageFilter) word_of(json, "filter", filters, lengthof(filters));
	transform->height = number_of(json, "height");
	transform->width = number_of(json, "width");
	transform->crop_height = number_of(json, "crop_height");
	transform->crop_width = number_of(json, "crop_width");
	transform->crop_half_even = ds_json_bool(ds_json_member(json, "crop_half_even"), &flag) && flag;
	if (!ds_json_double(ds_json_member(json, "scale"), &transform->scale))
		damaged_transform("scale");
	three_of(json, "fill", three);
	for (int i = 0; i < 3; i++)
	{
		if (!(three[i] >= 0 && three[i] <= 255))
			damaged_transform("fill");
		transform->fill[i] = (uint8) three[i];
	}
	three_of(json, "mean", three);
	for (int i = 0; i < 3; i++)
		transform->mean[i] = (float) three[i];
	three_of(json, "deviation", three);
	for (int i = 0; i < 3; i++)
		transform->deviation[i] = (float) three[i];
}

static void
write_transform(StringInfo out, const DsImageTransform *t)
{
	appendStringInfo(out,
					 "{\"fit\": \"%s\", \"height\": %u, \"width\": %u, \"filter\": \"%s\","
					 " \"crop_height\": %u, \"crop_width\": %u, \"crop_half_even\": %s,"
					 " \"fill\": [%u, %u, %u], \"scale\": %.17g",
					 fits[t->fit], t->height, t->width, filters[t->filter], t->crop_height,
					 t->crop_width, t->crop_half_even ? "true" : "false", t->fill[0], t->fill[1],
					 t->fill[2], t->scale);
	appendStringInfo(out, ", \"mean\": [%.9g, %.9g, %.9g]", (double) t->mean[0],
					 (double) t->mean[1], (double) t->mean[2]);
	appendStringInfo(out, ", \"deviation\": [%.9g, %.9g, %.9g]}", (double) t->deviation[0],
					 (double) t->deviation[1], (double) t->deviation[2]);
}

/* The network and its transform must fit each other, or what is computed is out of bounds */
static void
check_image(const DsImportedConfig *config)
{
	const DsImageTransform *transform = &config->transform;
	uint32 height = transform->crop_height > 0 ? transform->crop_height : transform->height;
	uint32 width = transform->crop_width > 0 ? transform->crop_width : transform->width;
	DsStatus status;

	ds_check(ds_image_transform_check(transform, &status), &status);
	if ((transform->crop_height == 0 && transform->fit != DS_FIT_EXACT) ||
		height != config->image.height || width != config->image.width ||
		config->image.channels != 3)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the model's transform does not give the pictures that its network "
							   "takes")));
}

/* ---- all of it ---- */

void
ds_imported_config_read(Jsonb *json, DsImportedConfig *config)
{
	char *text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	DsJson root, encoder, precision, tokenizer, prompts, towers, image;
	const DsJsonWanted wanted[] = {{"encoder", &encoder},	  {"precision", &precision},
								   {"tokenizer", &tokenizer}, {"prompts", &prompts},
								   {"towers", &towers},		  {"image", &image}};
	DsText utf8 = ds_text_utf8(text, strlen(text));
	DsStatus status;

	memset(config, 0, sizeof(*config));
	ds_check(ds_json_parse(utf8.data, utf8.length, "config", &root, &status), &status);
	ds_json_members(root, wanted, lengthof(wanted));
	config->precision = precision_of(precision);
	config->texts = ds_json_kind(encoder) != DS_JSON_ABSENT;
	config->images = ds_json_kind(image) != DS_JSON_ABSENT;
	if (config->texts)
		ds_check(ds_spec_read(encoder, &config->spec, &status), &status);
	if (config->images)
	{
		ds_check(ds_image_spec_read(ds_json_member(image, "network"), &config->image, &status),
				 &status);
		read_transform(ds_json_member(image, "transform"), &config->transform);
		check_image(config);
	}
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

static void
append_texts(StringInfo out, const DsImportedConfig *config)
{
	size_t size = ds_spec_write(&config->spec, NULL, 0) + 1;
	char *spec = palloc(size);

	ds_spec_write(&config->spec, spec, size);
	appendStringInfo(out, ", \"encoder\": %s", spec);
	appendStringInfo(out, ", \"tokenizer\": {\"file\": \"%s\", \"special\": %s",
					 config->vocab ? "vocab.txt" : "tokenizer.json",
					 config->special ? "true" : "false");
	if (config->drop_id != DS_SPEC_NO_ID)
		appendStringInfo(out, ", \"drop\": %u", config->drop_id);
	if (config->vocab)
	{
		appendStringInfo(out, ", \"lowercase\": %s, \"chinese\": %s, \"max_length\": %u",
						 config->vocab_options.lowercase ? "true" : "false",
						 config->vocab_options.chinese ? "true" : "false",
						 config->vocab_options.max_length);
		if (config->vocab_options.strip_accents >= 0)
			appendStringInfo(out, ", \"strip_accents\": %s",
							 config->vocab_options.strip_accents ? "true" : "false");
	}
	appendStringInfoString(out, "}, \"prompts\": {\"query\": ");
	append_string(out, config->prompt[DS_SIDE_QUERY]);
	appendStringInfoString(out, ", \"document\": ");
	append_string(out, config->prompt[DS_SIDE_DOCUMENT]);
	appendStringInfoString(out, config->separate ? "}, \"towers\": \"separate\"" : "}");
}

static void
append_image(StringInfo out, const DsImportedConfig *config)
{
	size_t size = ds_image_spec_write(&config->image, NULL, 0) + 1;
	char *spec = palloc(size);

	ds_image_spec_write(&config->image, spec, size);
	appendStringInfo(out, ", \"image\": {\"network\": %s, \"transform\": ", spec);
	write_transform(out, &config->transform);
	appendStringInfoChar(out, '}');
}

Jsonb *
ds_imported_config_write(const DsImportedConfig *config)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"family\": \"%s\", \"precision\": \"%s\"", ds_imported_family(config),
					 ds_precision_name(config->precision));
	if (config->texts)
		append_texts(&out, config);
	if (config->images)
		append_image(&out, config);
	appendStringInfoChar(&out, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

int
ds_imported_dims(const DsImportedConfig *config)
{
	return (int) (config->texts ? ds_spec_dims(&config->spec) : ds_image_spec_dims(&config->image));
}

const char *
ds_imported_family(const DsImportedConfig *config)
{
	return config->texts ? config->spec.family : config->image.family;
}

int64
ds_imported_parameters(const DsImportedConfig *config)
{
	int64 count = 0;

	if (config->texts)
		count += (int64) ds_spec_parameters(&config->spec);
	if (config->images)
		count += (int64) ds_image_spec_parameters(&config->image);
	return count;
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
