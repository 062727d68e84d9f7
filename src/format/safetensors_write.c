/*
 * safetensors_write.c
 *		Writing safetensors files: the header, then the tensors as parts of a plan.
 *
 * As the reference implementation writes them: the tensors with the largest
 * elements first, so that each is aligned, among these by name; the header
 * filled with spaces so that the bytes begin at a multiple of eight.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "text/blob.h"

static int
by_size_and_name(const void *a, const void *b)
{
	const DsSafetensor *x = a;
	const DsSafetensor *y = b;
	unsigned p = ds_dtype_bits(x->part.dtype);
	unsigned q = ds_dtype_bits(y->part.dtype);

	return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

DsCode
ds_safetensors_plan(DsPlan *plan, const char *file, DsSafetensor *tensors, size_t count,
					DsStatus *status)
{
	DsBuffer header;
	DsPlanFile *planned;
	unsigned char length[8] = {0};
	uint64_t offset = 0;
	DsCode code = ds_plan_begin(plan, file, &planned, status);

	if (code != DS_OK)
		return code;
	qsort(tensors, count, sizeof(DsSafetensor), by_size_and_name);
	ds_buffer_init(&header, plan->arena);
	ds_buffer_put(&header, length, sizeof(length));
	ds_buffer_text(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < count; i++)
	{
		const DsSafetensor *tensor = &tensors[i];
		uint64_t elements;
		uint64_t bytes;

		if (!ds_tensor_size(tensor->shape, tensor->rank, tensor->part.dtype, &elements, &bytes) ||
			elements != tensor->part.rows * tensor->part.columns ||
			(i > 0 && strcmp(tensors[i - 1].name, tensor->name) == 0))
			return ds_fail(status, DS_INVALID, "tensor \"%s\" cannot be written", tensor->name);
		ds_buffer_byte(&header, ',');
		ds_buffer_json(&header, tensor->name);
		ds_buffer_printf(&header, ":{\"dtype\":\"%s\",\"shape\":[",
						 ds_dtype_name(tensor->part.dtype));
		for (uint32_t d = 0; d < tensor->rank; d++)
			ds_buffer_printf(&header, "%s%" PRIu64, d > 0 ? "," : "", tensor->shape[d]);
		ds_buffer_printf(&header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset,
						 offset + bytes);
		offset += bytes;
	}
	ds_buffer_byte(&header, '}');
	while (header.length % 8 != 0 && !header.failed)
		ds_buffer_byte(&header, ' ');
	code = ds_buffer_check(&header, status);
	if (code != DS_OK)
		return code;
	if (header.length - 8 > DS_SAFETENSORS_HEADER_MAX)
		return ds_fail(status, DS_TOO_LARGE, "%s would have a header of %zu bytes", file,
					   header.length);
	ds_write_u64((unsigned char *) header.bytes, header.length - 8);
	code = ds_plan_bytes(plan, planned, header.bytes, header.length, status);
	for (size_t i = 0; i < count && code == DS_OK; i++)
		code = ds_plan_tensor(plan, planned, &tensors[i].part, status);
	return code;
}
