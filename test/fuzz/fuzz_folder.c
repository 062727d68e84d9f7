/*
 * fuzz_folder.c
 *		A model's folder whose files are any bytes (any_folder.h).
 *
 * What opens must describe tensors that lie in their files, and a spec that passes
 * its own check.
 */
#include "any_folder.h"
#include "format/encoder_source.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DsArena arena, scratch;
	DsEncoderSource source;
	DsStatus status;

	fill_folder(data, size);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	if (ds_encoder_source_open(&folder, &arena, &scratch, &source, &status) == DS_OK)
	{
		if (ds_spec_check(&source.spec, &status) != DS_OK)
			abort();
		for (size_t i = 0; i < source.tensor_count; i++)
		{
			const DsSourceTensor *tensor = &source.tensors[i];
			char *bytes = malloc(tensor->info->bytes + 1);

			if (ds_tensors_read(tensor->files, tensor->info, 0, bytes, tensor->info->bytes,
								&status) != DS_OK)
				abort();
			free(bytes);
		}
	}
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return 0;
}
