/*
 * source_files.c
 *		Small files of a model's folder, its weights, and the names in them.
 */
#include <stdio.h>
#include <string.h>

#include "format/families.h"
#include "format/safetensors.h"
#include "format/tf_bundle.h"

#define SMALL_FILE_MAX ((size_t) 4 << 20) /* config.json and its like */

/* ---- files and JSON ---- */

DsCode
ds_source_no_memory(Source *source)
{
	return ds_fail(source->status, DS_OUT_OF_MEMORY, "out of memory");
}

/* folder and name in one, in the arena */
DsCode
ds_source_join(Source *source, const char *folder, const char *name, const char **path)
{
	size_t size = strlen(folder) + strlen(name) + 2;
	char *out = ds_arena_alloc(source->arena, size, 1);

	if (out == NULL)
		return ds_source_no_memory(source);
	snprintf(out, size, "%s%s", folder, name);
	*path = out;
	return DS_OK;
}

/* A JSON file into the arena; absent when there is none */
DsCode
ds_source_json(Source *source, const char *path, DsJson *root)
{
	char *text;
	size_t length;

	*root = (DsJson){NULL, NULL};
	TRY(ds_folder_load(source->folder, path, SMALL_FILE_MAX, source->arena, &text, &length,
					   source->status));
	return text == NULL ? DS_OK : ds_json_parse(text, length, path, root, source->status);
}

DsCode
ds_source_string(Source *source, DsJson value, const char **out)
{
	char *copy;
	size_t length;

	*out = NULL;
	if (ds_json_kind(value) != DS_JSON_STRING)
		return DS_OK;
	copy = ds_arena_alloc(source->arena, ds_json_string_size(value) + 1, 1);
	if (copy == NULL)
		return ds_source_no_memory(source);
	length = ds_json_string_copy(value, copy);
	copy[length] = '\0';
	*out = copy;
	return DS_OK;
}

static DsJson
either(DsJson object, const char *key, const char *second)
{
	DsJson value = ds_json_member(object, key);

	if ((ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL) &&
		second != NULL)
		value = ds_json_member(object, second);
	return value;
}

DsCode
ds_source_number(Source *source, const char *key, const char *second, int64_t otherwise,
				 uint32_t *out)
{
	DsJson value = either(source->config, key, second);
	int64_t number;

	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL)
	{
		if (otherwise == DS_REQUIRED)
			return ds_fail(source->status, DS_BAD_DATA, "%s has no %s", source->config_name, key);
		number = otherwise;
	}
	else if (!ds_json_integer(value, &number) || number < 0 || number > (INT64_C(1) << 30))
		return ds_fail(source->status, DS_BAD_DATA, "%s: %s is no number that makes sense",
					   source->config_name, key);
	*out = (uint32_t) number;
	return DS_OK;
}

DsCode
ds_source_real(Source *source, const char *key, const char *second, double otherwise, float *out)
{
	DsJson value = either(source->config, key, second);
	double number = otherwise;

	if (ds_json_kind(value) != DS_JSON_ABSENT && ds_json_kind(value) != DS_JSON_NULL &&
		(!ds_json_double(value, &number) || !(number >= 0 && number < 1e30)))
		return ds_fail(source->status, DS_BAD_DATA, "%s: %s is no number that makes sense",
					   source->config_name, key);
	*out = (float) number;
	return DS_OK;
}

/* ---- weights ---- */

/* Is this a file of weights that is not read?  Then say what it is. */
static DsCode
refuse_other_weights(Source *source, const char *folder)
{
	static const char *const names[] = {"pytorch_model.bin", "open_clip_pytorch_model.bin",
										"tf_model.h5", "pytorch_model.bin.index.json"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		const char *path = NULL;
		bool exists;
		uint64_t size;
		unsigned char bytes[16];

		TRY(ds_source_join(source, folder, names[i], &path));
		TRY(source->folder->look(source->folder->context, path, &exists, &size, source->status));
		if (!exists)
			continue;
		if (size < sizeof(bytes))
			return ds_fail_file_kind(source->status, path, DS_FILE_OTHER);
		TRY(source->folder->read(source->folder->context, path, 0, bytes, sizeof(bytes),
								 source->status));
		return ds_fail_file_kind(source->status, path,
								 i == 3 ? DS_FILE_PICKLE : ds_file_kind(bytes, sizeof(bytes)));
	}
	return ds_fail(source->status, DS_BAD_DATA, "there is no %smodel.safetensors", folder);
}

/* The first .index of the folder's top level, or NULL */
static const char *
find_checkpoint(Source *source)
{
	const DsFolder *folder = source->folder;
	const char *best = NULL;
	const char *name;

	if (folder->name == NULL)
		return NULL;
	for (size_t i = 0; (name = folder->name(folder->context, i)) != NULL; i++)
	{
		size_t length = strlen(name);

		if (length > strlen(".index") && strcmp(name + length - strlen(".index"), ".index") == 0 &&
			ds_folder_plain_name(name, length) && (best == NULL || strcmp(name, best) < 0))
			best = name;
	}
	return best;
}

DsCode
ds_source_open_weights(Source *source, const char *folder, DsTensorFiles **files)
{
	static const char *const names[] = {"model.safetensors", "open_clip_model.safetensors",
										"model.safetensors.index.json"};

	*files = ds_arena_zero(source->arena, 1, sizeof(DsTensorFiles));
	if (*files == NULL)
		return ds_source_no_memory(source);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		const char *path = NULL;
		bool exists;
		uint64_t size;

		TRY(ds_source_join(source, folder, names[i], &path));
		TRY(source->folder->look(source->folder->context, path, &exists, &size, source->status));
		if (!exists)
			continue;
		if (i < 2)
			return ds_safetensors_open(source->folder, path, source->arena, source->scratch, *files,
									   source->status);
		if (folder[0] != '\0')
			return ds_fail(source->status, DS_UNSUPPORTED,
						   "%s: weights in parts are read from the top of the folder only", path);
		return ds_safetensors_open_sharded(source->folder, path, source->arena, source->scratch,
										   *files, source->status);
	}
	{
		const char *index;

		if (folder[0] == '\0' && (index = find_checkpoint(source)) != NULL)
			return ds_tf_bundle_open(source->folder, index, source->arena, source->scratch, *files,
									 source->status);
	}
	return refuse_other_weights(source, folder);
}

/* ---- names of tensors ---- */

/* Does the pattern match the neutral name?  *layer gets '#', *suffix what comes behind. */
bool
ds_source_match(const char *pattern, const char *neutral, unsigned *layer, const char **suffix)
{
	*layer = 0;
	for (; *pattern != '\0'; pattern++)
	{
		if (*pattern == '#')
		{
			if (*neutral < '0' || *neutral > '9')
				return false;
			while (*neutral >= '0' && *neutral <= '9')
				*layer = *layer * 10 + (unsigned) (*neutral++ - '0');
		}
		else if (*pattern != *neutral++)
			return false;
	}
	*suffix = neutral;
	return *neutral == '\0' || strcmp(neutral, ".weight") == 0 || strcmp(neutral, ".bias") == 0;
}

static void
file_name(const char *prefix, const char *pattern, unsigned layer, const char *suffix, char *out,
		  size_t size)
{
	const char *hash = strchr(pattern, '#');

	if (hash == NULL)
		snprintf(out, size, "%s%s%s", prefix, pattern, suffix);
	else
		snprintf(out, size, "%s%.*s%u%s%s", prefix, (int) (hash - pattern), pattern, layer,
				 hash + 1, suffix);
}

bool
ds_source_name(const Family *family, bool head, bool last, const char *prefix, const char *neutral,
			   char *out, size_t size)
{
	bool found = false;

	for (const Name *names = head ? family->head : family->names;
		 names != NULL && names->neutral != NULL; names++)
	{
		const char *suffix;
		unsigned layer;

		if ((found && !last) || !ds_source_match(names->neutral, neutral, &layer, &suffix))
			continue;
		file_name(prefix, names->file, layer, suffix, out, size);
		found = true;
	}
	return found;
}

static const DsTensorInfo *
find_exact(const Source *source, const char *name)
{
	const DsTensorInfo *found = ds_tensors_find(source->files, name);
	const char *end = strstr(name, "LayerNorm.");
	char old[256];

	/* files of old call weight and bias of a norm so */
	if (found == NULL && end != NULL && strlen(name) < sizeof(old) - 8)
	{
		end += strlen("LayerNorm.");
		snprintf(old, sizeof(old), "%.*s%s", (int) (end - name), name,
				 strcmp(end, "bias") == 0 ? "beta" : "gamma");
		found = ds_tensors_find(source->files, old);
	}
	return found;
}

/* Look up in a table; with expected, the name that was looked for first. */
static const DsTensorInfo *
find_in(const Source *source, const Name *names, const char *neutral, char *expected, size_t size)
{
	for (; names->neutral != NULL; names++)
	{
		const DsTensorInfo *found;
		const char *suffix;
		unsigned layer;
		char name[256];

		if (!ds_source_match(names->neutral, neutral, &layer, &suffix))
			continue;
		file_name(source->prefix, names->file, layer, suffix, name, sizeof(name));
		found = find_exact(source, name);
		if (expected != NULL && expected[0] == '\0')
			snprintf(expected, size, "%s", name);
		if (found == NULL && source->prefix[0] != '\0')
		{
			file_name("", names->file, layer, suffix, name, sizeof(name));
			found = find_exact(source, name);
		}
		if (found != NULL)
			return found;
	}
	return NULL;
}

const DsTensorInfo *
ds_source_find(const Source *source, const char *neutral, char *expected, size_t size)
{
	const DsTensorInfo *found = NULL;

	if (source->scores && source->family->head != NULL)
	{
		/* these names are whole */
		Source plain = *source;

		plain.prefix = "";
		found = find_in(&plain, source->family->head, neutral, expected, size);
	}
	if (found == NULL)
		found = find_in(source, source->family->names, neutral, expected, size);
	return found;
}

const DsTensorInfo *
ds_source_tensor(const Source *source, const char *neutral)
{
	return ds_source_find(source, neutral, NULL, 0);
}
