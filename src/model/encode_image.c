/*
 * encode_image.c
 *		Pictures to embeddings.
 *
 * A picture's file is decoded, made ready as the model says (resized, cropped,
 * normalised), and goes through the network with some others.  Decoded pixels
 * live for one picture only; what waits for the network is what it reads.
 */
#include "model/model.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "image/image.h"

#define AT_ONCE 16 /* pictures that wait for the network */

void
ds_image_refuse(DsCode code, const DsStatus *status, bool *failed)
{
	/* memory, an interrupt: nothing about the picture */
	if (code != DS_BAD_DATA && code != DS_UNSUPPORTED && code != DS_TOO_LARGE)
		ds_check(code, status);
	if (failed != NULL)
	{
		*failed = true;
		return;
	}
	ereport(ERROR, (errcode(code == DS_BAD_DATA ? ERRCODE_INVALID_BINARY_REPRESENTATION
												: ds_sqlstate(code)),
					errmsg("%s", status->message),
					code == DS_TOO_LARGE
						? errhint("deepsearch.image_max_pixels and deepsearch.image_max_bytes "
								  "are the limits.")
						: 0));
}

bool
ds_image_load(const DsImageTransform *transform, DsText file, DsArena *arena, DsArena *scratch,
			  bool *failed, float *values)
{
	DsImageLimits limits = {.max_bytes = (size_t) ds_setting_image_max_bytes * 1024,
							.max_pixels = (uint64_t) ds_setting_image_max_pixels};
	DsImage image;
	DsStatus status;
	DsCode code = ds_image_decode(file.data, file.length, &limits, arena, scratch,
								  &ds_server_cancel, &image, &status);

	if (code == DS_OK)
		code = ds_image_transform_apply(transform, &image, DS_LAYOUT_HWC, values, scratch,
										&ds_server_cancel, &status);
	if (code != DS_OK)
		ds_image_refuse(code, &status, failed);
	ds_arena_free(arena);
	return code == DS_OK;
}

void
ds_images_encode(DsModel *model, const DsText *pictures, size_t count, bool *failed, float *out)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch pictures", ALLOCSET_DEFAULT_SIZES);
	size_t values;
	size_t dims = (size_t) model->dims;
	float *pixels;
	float *results;
	size_t places[AT_ONCE];
	size_t waiting = 0;
	DsArena arena;
	DsArena scratch;

	ds_need_images(model);
	if (model->mixed != NULL)
	{
		ds_mixed_encode(model, ds_mixed_image_side(model), NULL, pictures, count, failed, out);
		MemoryContextDelete(context);
		return;
	}
	values = ds_image_values(&model->pretrained.image);
	pixels = MemoryContextAllocHuge(context, sizeof(float) * values * Min(count, AT_ONCE));
	results = MemoryContextAllocHuge(context, sizeof(float) * dims * AT_ONCE);
	ds_server_arena(&arena, context);
	ds_server_arena(&scratch, context);
	for (size_t i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (failed != NULL)
			failed[i] = false;
		if (ds_image_load(&model->pretrained.transform, pictures[i], &arena, &scratch,
						  failed != NULL ? &failed[i] : NULL, pixels + waiting * values))
			places[waiting++] = i;
		if (waiting == AT_ONCE || (waiting > 0 && i + 1 == count))
		{
			DsStatus status;

			ds_check(ds_image_network_run(model->image, waiting, pixels, results, &model->run_arena,
										  &ds_server_cancel, &status),
					 &status);
			ds_arena_free(&model->run_arena);
			for (size_t w = 0; w < waiting; w++)
				memcpy(out + places[w] * dims, results + w * dims, sizeof(float) * dims);
			ds_count_encoded((int64) waiting);
			waiting = 0;
		}
	}
	MemoryContextDelete(context);
}
