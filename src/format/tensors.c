/*
 * tensors.c
 *		Finding and reading tensors that a reader of some format has described.
 */
#include "format/tensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const DsTensorInfo *) a)->name, ((const DsTensorInfo *) b)->name);
}

const DsTensorInfo *
ds_tensors_find(const DsTensorFiles *files, const char *name)
{
	DsTensorInfo key = {.name = name};

	if (files->count == 0)
		return NULL;
	return bsearch(&key, files->tensors, files->count, sizeof(key), compare_names);
}

DsCode
ds_tensors_sort(DsTensorFiles *files, const char *what, DsStatus *status)
{
	char shown[DS_SHOWN_SIZE];

	if (files->count > 1)
		qsort(files->tensors, files->count, sizeof(DsTensorInfo), compare_names);
	for (size_t i = 1; i < files->count; i++)
		if (strcmp(files->tensors[i - 1].name, files->tensors[i].name) == 0)
			return ds_fail(status, DS_BAD_DATA, "tensor \"%s\" is there twice in %s",
						   ds_shown(shown, files->tensors[i].name), what);
	return DS_OK;
}

bool
ds_tensor_size(const uint64_t *shape, uint32_t rank, DsDtype dtype, uint64_t *elements,
			   uint64_t *bytes)
{
	uint64_t product = 1;
	uint64_t bits;

	for (uint32_t i = 0; i < rank; i++)
		if (__builtin_mul_overflow(product, shape[i], &product))
			return false;
	if (__builtin_mul_overflow(product, (uint64_t) ds_dtype_bits(dtype), &bits) || bits % 8 != 0)
		return false;
	*elements = product;
	*bytes = bits / 8;
	return true;
}

DsCode
ds_tensors_read(const DsTensorFiles *files, const DsTensorInfo *tensor, uint64_t offset,
				void *buffer, size_t length, DsStatus *status)
{
	char shown[DS_SHOWN_SIZE];

	if (offset > tensor->bytes || length > tensor->bytes - offset)
		return ds_fail(status, DS_INVALID,
					   "tensor \"%s\" has %" PRIu64 " bytes, asked for %zu from %" PRIu64,
					   ds_shown(shown, tensor->name), tensor->bytes, length, offset);
	if (length == 0)
		return DS_OK;
	return files->folder->read(files->folder->context, files->files[tensor->file],
							   tensor->offset + offset, buffer, length, status);
}

DsCode
ds_tensors_read_floats(const DsTensorFiles *files, const DsTensorInfo *tensor, uint64_t first,
					   size_t count, float *out, DsStatus *status)
{
	unsigned char buffer[8192];
	char shown[DS_SHOWN_SIZE];
	size_t width = ds_dtype_bits(tensor->dtype) / 8;

	if (!ds_dtype_has_floats(tensor->dtype))
		return ds_fail(status, DS_UNSUPPORTED,
					   "tensor \"%s\" is of type %s, which is not read as weights",
					   ds_shown(shown, tensor->name), ds_dtype_name(tensor->dtype));
	if (first > tensor->elements || count > tensor->elements - first)
		return ds_fail(status, DS_INVALID,
					   "tensor \"%s\" has %" PRIu64 " elements, asked for %zu from %" PRIu64,
					   ds_shown(shown, tensor->name), tensor->elements, count, first);
	while (count > 0)
	{
		size_t n = count < sizeof(buffer) / width ? count : sizeof(buffer) / width;
		DsCode code = ds_tensors_read(files, tensor, first * width, buffer, n * width, status);

		if (code != DS_OK)
			return code;
		ds_dtype_to_float(tensor->dtype, buffer, n, out);
		out += n;
		first += n;
		count -= n;
	}
	return DS_OK;
}
