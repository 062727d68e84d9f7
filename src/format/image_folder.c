/*
 * image_folder.c
 *		A network over pictures as others read it: the files beside its weights.
 */
#include "format/image_folder.h"

#include <string.h>

#define FILE_NAME "preprocessor_config.json"

static const char *
flag(bool value)
{
	return value ? "true" : "false";
}

static bool
same(const DsImageTransform *a, const DsImageTransform *b)
{
	return a->fit == b->fit &&
		   (a->fit == DS_FIT_NONE || (a->height == b->height && a->filter == b->filter)) &&
		   (a->fit != DS_FIT_EXACT || a->width == b->width) && a->crop_height == b->crop_height &&
		   a->crop_width == b->crop_width && a->scale == b->scale &&
		   memcmp(a->fill, b->fill, sizeof(a->fill)) == 0 &&
		   memcmp(a->mean, b->mean, sizeof(a->mean)) == 0 &&
		   memcmp(a->deviation, b->deviation, sizeof(a->deviation)) == 0;
}

DsCode
ds_image_preprocessor(const DsImageTransform *t, DsPlan *plan, DsStatus *status)
{
	DsImageTransform back;
	DsBuffer out;
	DsCode code;

	ds_buffer_init(&out, plan->arena);
	ds_buffer_printf(&out,
					 "{\n  \"image_processor_type\": \"CLIPImageProcessor\",\n"
					 "  \"do_convert_rgb\": true,\n  \"do_resize\": %s,\n",
					 flag(t->fit != DS_FIT_NONE));
	if (t->fit == DS_FIT_SHORTEST)
		ds_buffer_printf(&out, "  \"size\": {\"shortest_edge\": %u},\n", t->height);
	else if (t->fit != DS_FIT_NONE)
		ds_buffer_printf(&out, "  \"size\": {\"height\": %u, \"width\": %u},\n", t->height,
						 t->width);
	ds_buffer_printf(&out, "  \"resample\": %d,\n  \"do_center_crop\": %s,\n", (int) t->filter,
					 flag(t->crop_height > 0));
	if (t->crop_height > 0)
		ds_buffer_printf(&out, "  \"crop_size\": {\"height\": %u, \"width\": %u},\n",
						 t->crop_height, t->crop_width);
	ds_buffer_printf(&out,
					 "  \"do_rescale\": true,\n  \"rescale_factor\": %.17g,\n"
					 "  \"do_normalize\": true,\n  \"image_mean\": [%.9g, %.9g, %.9g],\n"
					 "  \"image_std\": [%.9g, %.9g, %.9g]\n}\n",
					 t->scale, (double) t->mean[0], (double) t->mean[1], (double) t->mean[2],
					 (double) t->deviation[0], (double) t->deviation[1], (double) t->deviation[2]);
	code = ds_plan_text(plan, FILE_NAME, &out, status);
	if (code == DS_OK)
		code =
			ds_image_transform_preprocessor(out.bytes, out.length, FILE_NAME, NULL, &back, status);
	if (code == DS_OK && !same(t, &back))
		return ds_fail(status, DS_UNSUPPORTED,
					   "how pictures are made ready has no counterpart in " FILE_NAME);
	return code;
}
