/*
 * fuzz_image_source.c
 *		A folder of a network over pictures whose files are any bytes (any_folder.h).
 *
 * What opens must describe the tensors that its spec has, in their files, a spec that
 * passes its own check, and pictures of the spec's size.
 */
#include "any_folder.h"
#include "format/image_source.h"

static void
check(const DsImageSource *source)
{
	DsStatus status;

	if (ds_image_spec_check(&source->spec, &status) != DS_OK ||
		source->tensor_count != ds_image_spec_tensors(&source->spec))
		abort();
	for (size_t i = 0; i < source->tensor_count; i++)
	{
		const DsSourceTensor *tensor = &source->tensors[i];
		char *bytes = malloc(tensor->info->bytes + 1);

		if (ds_tensors_read(tensor->files, tensor->info, 0, bytes, tensor->info->bytes, &status) !=
			DS_OK)
			abort();
		free(bytes);
	}
}

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DsArena arena, scratch;
	DsImageSource source;
	DsStatus status;
	uint32_t reads;

	fill_folder(data, size);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	if (ds_source_reads(&folder, &scratch, &reads, &status) == DS_OK &&
		(reads == 0 || (reads & ~(DS_READS_TEXTS | DS_READS_IMAGES)) != 0))
		abort();
	for (int classes = 0; classes < 2; classes++)
	{
		ds_arena_free(&arena);
		ds_arena_free(&scratch);
		if (ds_image_source_open(&folder, classes, &arena, &scratch, &source, &status) == DS_OK)
			check(&source);
	}
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return 0;
}
