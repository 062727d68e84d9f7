/*
 * safetensors.c
 *		The header of a safetensors file, checked; models in parts.
 */
#include "format/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/blob.h"

/* a string of JSON as a name in the arena; NULL out when it is no possible name */
static DsCode
copy_name(DsJson string, const char *file, const char *what, size_t limit, DsArena *arena,
		  char **name, DsStatus *status)
{
	size_t size = ds_json_string_size(string);
	size_t length;

	*name = NULL;
	/* an escape takes at most six bytes for one */
	if (size > 6 * limit)
		return ds_fail(status, DS_TOO_LARGE, "%s: %s of more than %zu bytes", file, what, limit);
	*name = ds_arena_alloc(arena, size + 1, 1);
	if (*name == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the names of %s", file);
	length = ds_json_string_copy(string, *name);
	(*name)[length] = 0;
	if (length > limit)
		return ds_fail(status, DS_TOO_LARGE, "%s: %s of more than %zu bytes", file, what, limit);
	if (length == 0)
		return ds_fail(status, DS_BAD_DATA, "%s: %s is empty", file, what);
	if (strlen(*name) != length)
		return ds_fail(status, DS_BAD_DATA, "%s: %s with a zero byte", file, what);
	return DS_OK;
}

static DsCode
bad_tensor(DsStatus *status, const char *file, const DsTensorInfo *tensor, const char *what)
{
	char shown[DS_SHOWN_SIZE];

	return ds_fail(status, DS_BAD_DATA, "%s: tensor \"%s\": %s", file,
				   ds_shown(shown, tensor->name), what);
}

/* "dtype", "shape" and "data_offsets" of one tensor; offset is still that behind the header */
static DsCode
read_tensor(DsJson value, const char *file, DsTensorInfo *tensor, DsStatus *status)
{
	DsJson dtype = {NULL, NULL};
	DsJson shape = {NULL, NULL};
	DsJson offsets = {NULL, NULL};
	char shown[DS_SHOWN_SIZE];
	uint64_t bounds[2];
	size_t n = 0;
	uint64_t bytes;

	if (ds_json_kind(value) != DS_JSON_OBJECT)
		return bad_tensor(status, file, tensor, "its description is no object");
	for (DsJsonItem item = ds_json_items(value); ds_json_next(&item);)
	{
		DsJson *member = ds_json_string_is(item.key, "dtype")		   ? &dtype
						 : ds_json_string_is(item.key, "shape")		   ? &shape
						 : ds_json_string_is(item.key, "data_offsets") ? &offsets
																	   : NULL;

		if (member == NULL)
			continue;
		if (member->at != NULL)
			return bad_tensor(status, file, tensor, "a member of its description is there twice");
		*member = item.value;
	}
	if (ds_json_kind(dtype) != DS_JSON_STRING || ds_json_kind(shape) != DS_JSON_ARRAY ||
		ds_json_kind(offsets) != DS_JSON_ARRAY)
		return bad_tensor(status, file, tensor, "dtype, shape or data_offsets is missing");

	{
		char name[96];
		char shown_type[DS_SHOWN_SIZE];
		size_t length = 0;

		if (ds_json_string_size(dtype) < sizeof(name))
			length = ds_json_string_copy(dtype, name);
		name[length] = 0;
		tensor->dtype = ds_dtype_find(name, length);
		if (tensor->dtype == DS_DTYPE_NONE)
			return ds_fail(status, DS_UNSUPPORTED, "%s: tensor \"%s\" is of unknown type \"%s\"",
						   file, ds_shown(shown, tensor->name), ds_shown(shown_type, name));
	}

	tensor->rank = 0;
	for (DsJsonItem item = ds_json_items(shape); ds_json_next(&item);)
	{
		int64_t dimension;

		if (!ds_json_integer(item.value, &dimension) || dimension < 0)
			return bad_tensor(status, file, tensor, "a dimension is no possible number");
		if (tensor->rank == DS_TENSOR_RANK_MAX)
			return ds_fail(status, DS_TOO_LARGE, "%s: tensor \"%s\" has more than %d dimensions",
						   file, ds_shown(shown, tensor->name), DS_TENSOR_RANK_MAX);
		tensor->shape[tensor->rank++] = (uint64_t) dimension;
	}
	for (DsJsonItem item = ds_json_items(offsets); ds_json_next(&item);)
	{
		int64_t offset;

		if (n == 2 || !ds_json_integer(item.value, &offset) || offset < 0)
			return bad_tensor(status, file, tensor, "data_offsets are not two possible numbers");
		bounds[n++] = (uint64_t) offset;
	}
	if (n != 2 || bounds[1] < bounds[0])
		return bad_tensor(status, file, tensor, "data_offsets are not two possible numbers");
	if (!ds_tensor_size(tensor->shape, tensor->rank, tensor->dtype, &tensor->elements, &bytes))
		return bad_tensor(status, file, tensor, "its shape overflows or is no number of bytes");
	tensor->offset = bounds[0];
	tensor->bytes = bounds[1] - bounds[0];
	if (bytes != tensor->bytes)
		return ds_fail(status, DS_BAD_DATA,
					   "%s: tensor \"%s\" has %" PRIu64 " bytes, but its shape and type %s need "
					   "%" PRIu64,
					   file, ds_shown(shown, tensor->name), tensor->bytes,
					   ds_dtype_name(tensor->dtype), bytes);
	return DS_OK;
}

static int
compare_places(const void *a, const void *b)
{
	const DsTensorInfo *x = *(const DsTensorInfo *const *) a;
	const DsTensorInfo *y = *(const DsTensorInfo *const *) b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	/* an empty tensor before the one that begins where it lies */
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? -1 : 1;
	return 0;
}

/* each tensor begins where the one before ends; the last ends where the file does */
static DsCode
check_places(const DsTensorFiles *files, const char *file, uint64_t data, uint64_t size,
			 DsArena *scratch, DsStatus *status)
{
	const DsTensorInfo **order;
	uint64_t end = 0;
	char shown[DS_SHOWN_SIZE];

	order = ds_arena_alloc(scratch, files->count + 1, sizeof(*order));
	if (order == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the header of %s", file);
	for (size_t i = 0; i < files->count; i++)
		order[i] = &files->tensors[i];
	if (files->count > 1)
		qsort(order, files->count, sizeof(*order), compare_places);
	for (size_t i = 0; i < files->count; i++)
	{
		const DsTensorInfo *tensor = order[i];

		if (tensor->offset < end)
		{
			char other[DS_SHOWN_SIZE];

			return ds_fail(status, DS_BAD_DATA, "%s: tensors \"%s\" and \"%s\" overlap", file,
						   ds_shown(shown, order[i - 1]->name), ds_shown(other, tensor->name));
		}
		if (tensor->offset > end)
			return ds_fail(status, DS_BAD_DATA,
						   "%s: %" PRIu64 " bytes before tensor \"%s\" belong to no tensor", file,
						   tensor->offset - end, ds_shown(shown, tensor->name));
		end = tensor->offset + tensor->bytes;
		if (end > size - data)
			return ds_fail(status, DS_BAD_DATA,
						   "%s is cut short or lies about its contents: tensor \"%s\" ends at byte "
						   "%" PRIu64 " of a file of %" PRIu64,
						   file, ds_shown(shown, tensor->name), data + end, size);
	}
	if (end < size - data)
		return ds_fail(status, DS_BAD_DATA, "%s: %" PRIu64 " bytes follow the last tensor", file,
					   size - data - end);
	return DS_OK;
}

/* "__metadata__" may hold strings only, as in the reference implementation */
static DsCode
check_metadata(DsJson metadata, const char *file, DsStatus *status)
{
	if (ds_json_kind(metadata) == DS_JSON_NULL)
		return DS_OK;
	if (ds_json_kind(metadata) != DS_JSON_OBJECT)
		return ds_fail(status, DS_BAD_DATA, "%s: __metadata__ is no object", file);
	for (DsJsonItem item = ds_json_items(metadata); ds_json_next(&item);)
		if (ds_json_kind(item.value) != DS_JSON_STRING)
			return ds_fail(status, DS_BAD_DATA,
						   "%s: __metadata__ holds something else than strings", file);
	return DS_OK;
}

static DsCode
read_header(const DsFolder *folder, const char *file, DsArena *arena, DsArena *scratch,
			DsTensorFiles *files, DsStatus *status)
{
	unsigned char start[9];
	bool exists;
	uint64_t size;
	uint64_t length;
	char *text;
	DsJson root;
	size_t count = 0;
	bool metadata = false;
	DsCode code = folder->look(folder->context, file, &exists, &size, status);

	if (code != DS_OK)
		return code;
	if (!exists)
		return ds_fail(status, DS_BAD_DATA, "%s is missing", file);
	if (size < 10)
		return ds_fail(status, DS_BAD_DATA, "%s is cut short: it has %" PRIu64 " bytes", file,
					   size);
	code = folder->read(folder->context, file, 0, start, sizeof(start), status);
	if (code != DS_OK)
		return code;
	length = ds_read_u64(start);
	if (start[8] != '{' || length > UINT64_C(100000000))
	{
		DsFileKind kind = ds_file_kind(start, sizeof(start));

		if (kind != DS_FILE_OTHER && kind != DS_FILE_SAFETENSORS)
			return ds_fail_file_kind(status, file, kind);
		return ds_fail(status, DS_BAD_DATA,
					   "%s is no safetensors file: it does not begin with the "
					   "length of a header of at most 100 MB",
					   file);
	}
	if (length > DS_SAFETENSORS_HEADER_MAX)
		return ds_fail(status, DS_TOO_LARGE,
					   "the header of %s has %" PRIu64 " bytes, at most %zu are read", file, length,
					   DS_SAFETENSORS_HEADER_MAX);
	if (length > size - 8)
		return ds_fail(status, DS_BAD_DATA,
					   "%s is cut short: its header has %" PRIu64 " bytes, the file %" PRIu64, file,
					   length, size);
	text = ds_arena_alloc(scratch, (size_t) length + 1, 1);
	if (text == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the header of %s", file);
	code = folder->read(folder->context, file, 8, text, (size_t) length, status);
	if (code == DS_OK)
	{
		char what[DS_FOLDER_NAME_MAX * 2];
		size_t n = strlen(file);

		/* the place that a message gives is one of the header */
		if (n > DS_FOLDER_NAME_MAX)
			n = DS_FOLDER_NAME_MAX;
		memcpy(what, "the header of ", 14);
		memcpy(what + 14, file, n);
		what[14 + n] = 0;
		code = ds_json_parse(text, (size_t) length, what, &root, status);
	}
	if (code != DS_OK)
		return code;
	if (ds_json_kind(root) != DS_JSON_OBJECT)
		return ds_fail(status, DS_BAD_DATA, "the header of %s is no JSON object", file);

	for (DsJsonItem item = ds_json_items(root); ds_json_next(&item);)
		if (++count > DS_TENSOR_COUNT_MAX)
			return ds_fail(status, DS_TOO_LARGE, "%s has more than %d tensors", file,
						   DS_TENSOR_COUNT_MAX);
	files->tensors = ds_arena_zero(arena, count + 1, sizeof(DsTensorInfo));
	if (files->tensors == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the tensors of %s", file);
	files->count = 0;
	for (DsJsonItem item = ds_json_items(root); ds_json_next(&item);)
	{
		DsTensorInfo *tensor = &files->tensors[files->count];
		char *name;

		if (ds_json_string_is(item.key, "__metadata__"))
		{
			if (metadata)
				return ds_fail(status, DS_BAD_DATA, "%s: __metadata__ is there twice", file);
			metadata = true;
			code = check_metadata(item.value, file, status);
			if (code != DS_OK)
				return code;
			continue;
		}
		code = copy_name(item.key, file, "the name of a tensor", DS_TENSOR_NAME_MAX, arena, &name,
						 status);
		if (code != DS_OK)
			return code;
		tensor->name = name;
		code = read_tensor(item.value, file, tensor, status);
		if (code != DS_OK)
			return code;
		files->count++;
	}
	code = ds_tensors_sort(files, file, status);
	if (code == DS_OK)
		code = check_places(files, file, 8 + length, size, scratch, status);
	for (size_t i = 0; i < files->count; i++)
		files->tensors[i].offset += 8 + length;
	return code;
}

DsCode
ds_safetensors_open(const DsFolder *folder, const char *file, DsArena *arena, DsArena *scratch,
					DsTensorFiles *files, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(scratch);
	size_t length = strlen(file);
	char *name = ds_arena_alloc(arena, length + 1, 1);
	const char **names = ds_arena_alloc(arena, 1, sizeof(*names));
	DsCode code;

	memset(files, 0, sizeof(*files));
	if (name == NULL || names == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the header of %s", file);
	memcpy(name, file, length + 1);
	names[0] = name;
	files->folder = folder;
	files->files = names;
	files->file_count = 1;
	code = read_header(folder, file, arena, scratch, files, status);
	ds_arena_rewind(scratch, mark);
	return code;
}

/* one line of the weight_map */
typedef struct Place
{
	const char *name; /* of the tensor */
	const char *file;
} Place;

static int
compare_map(const void *a, const void *b)
{
	const Place *x = a;
	const Place *y = b;
	int order = strcmp(x->file, y->file);

	return order != 0 ? order : strcmp(x->name, y->name);
}

/* the weight_map as a list by file and name */
static DsCode
read_map(DsJson map, const char *index, DsArena *arena, DsArena *scratch, Place **list,
		 size_t *count, DsStatus *status)
{
	char *file = NULL;

	*count = 0;
	if (ds_json_kind(map) != DS_JSON_OBJECT)
		return ds_fail(status, DS_BAD_DATA, "%s has no object weight_map", index);
	for (DsJsonItem item = ds_json_items(map); ds_json_next(&item);)
		if (++*count > DS_TENSOR_COUNT_MAX)
			return ds_fail(status, DS_TOO_LARGE, "%s names more than %d tensors", index,
						   DS_TENSOR_COUNT_MAX);
	*list = ds_arena_alloc(scratch, *count + 1, sizeof(Place));
	if (*list == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %s", index);
	*count = 0;
	for (DsJsonItem item = ds_json_items(map); ds_json_next(&item);)
	{
		Place *place = &(*list)[*count];
		char shown[DS_SHOWN_SIZE];
		char *name;
		DsCode code = copy_name(item.key, index, "the name of a tensor", DS_TENSOR_NAME_MAX, arena,
								&name, status);

		if (code != DS_OK)
			return code;
		place->name = name;
		if (ds_json_kind(item.value) != DS_JSON_STRING)
			return ds_fail(status, DS_BAD_DATA, "%s: the file of tensor \"%s\" is no string", index,
						   ds_shown(shown, name));
		/* most tensors lie in the file of the one before */
		if (file == NULL || !ds_json_string_is(item.value, file))
		{
			code = copy_name(item.value, index, "the name of a file", 4096, arena, &file, status);
			if (code != DS_OK)
				return code;
			if (!ds_folder_plain_name(file, strlen(file)))
				return ds_fail(status, DS_BAD_DATA,
							   "%s: the file name \"%s\" is not one of this folder", index,
							   ds_shown(shown, file));
		}
		place->file = file;
		(*count)++;
	}
	if (*count == 0)
		return ds_fail(status, DS_BAD_DATA, "%s names no tensors", index);
	qsort(*list, *count, sizeof(Place), compare_map);
	return DS_OK;
}

static DsCode
open_parts(const DsFolder *folder, const char *index, DsArena *arena, DsArena *scratch,
		   DsTensorFiles *files, DsStatus *status)
{
	char *text;
	size_t length;
	DsJson root;
	Place *list = NULL;
	size_t count = 0;
	DsArena part_arena; /* the list of one part at a time */
	DsTensorFiles part = {0};
	DsCode code =
		ds_folder_load(folder, index, DS_SAFETENSORS_INDEX_MAX, scratch, &text, &length, status);

	if (code != DS_OK)
		return code;
	if (text == NULL)
		return ds_fail(status, DS_BAD_DATA, "%s is missing", index);
	code = ds_json_parse(text, length, index, &root, status);
	if (code == DS_OK)
		code = read_map(ds_json_member(root, "weight_map"), index, arena, scratch, &list, &count,
						status);
	if (code != DS_OK)
		return code;
	files->tensors = ds_arena_alloc(arena, count, sizeof(DsTensorInfo));
	files->files = ds_arena_alloc(arena, DS_TENSOR_FILE_MAX, sizeof(char *));
	if (files->tensors == NULL || files->files == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %s", index);
	ds_arena_init(&part_arena, &scratch->allocator);
	for (size_t i = 0; i < count; i++)
	{
		const DsTensorInfo *found;
		char shown[DS_SHOWN_SIZE];
		char shown_file[DS_SHOWN_SIZE];

		if (i == 0 || strcmp(list[i].file, list[i - 1].file) != 0)
		{
			if (files->file_count == DS_TENSOR_FILE_MAX)
			{
				code = ds_fail(status, DS_TOO_LARGE, "%s names more than %d files", index,
							   DS_TENSOR_FILE_MAX);
				break;
			}
			files->files[files->file_count++] = list[i].file;
			ds_arena_free(&part_arena);
			code = ds_safetensors_open(folder, list[i].file, &part_arena, scratch, &part, status);
			if (code != DS_OK)
				break;
		}
		found = ds_tensors_find(&part, list[i].name);
		if (found == NULL)
		{
			code =
				ds_fail(status, DS_BAD_DATA, "tensor \"%s\" is not in %s, where %s says it is",
						ds_shown(shown, list[i].name), ds_shown(shown_file, list[i].file), index);
			break;
		}
		files->tensors[i] = *found;
		files->tensors[i].name = list[i].name;
		files->tensors[i].file = (uint32_t) (files->file_count - 1);
		files->count++;
	}
	ds_arena_free(&part_arena);
	/* a name that is there twice: the map said two things */
	return code != DS_OK ? code : ds_tensors_sort(files, index, status);
}

DsCode
ds_safetensors_open_sharded(const DsFolder *folder, const char *index, DsArena *arena,
							DsArena *scratch, DsTensorFiles *files, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(scratch);
	DsCode code;

	memset(files, 0, sizeof(*files));
	files->folder = folder;
	code = open_parts(folder, index, arena, scratch, files, status);
	ds_arena_rewind(scratch, mark);
	return code;
}
