/*
 * fuzz_folder.c
 *		A model's folder whose files are any bytes.
 *
 * The input is a list of files: a byte that chooses the name, two for the
 * length, the bytes.  What opens must describe tensors that lie in their files,
 * and a spec that passes its own check.
 */
#include <stdlib.h>
#include <string.h>

#include "format/encoder_source.h"

static const char *const names[] = {"config.json",
									"model.safetensors",
									"tokenizer.json",
									"modules.json",
									"1_Pooling/config.json",
									"2_Dense/config.json",
									"2_Dense/model.safetensors",
									"sentence_bert_config.json",
									"config_sentence_transformers.json",
									"model.safetensors.index.json",
									"bert_config.json",
									"m.index",
									"m.data-00000-of-00001",
									"vocab.txt",
									"open_clip_config.json",
									"tokenizer_config.json"};

#define NAMES (sizeof(names) / sizeof(names[0]))

static const uint8_t *file[NAMES];
static size_t length[NAMES];

static size_t
number(const char *name)
{
	for (size_t i = 0; i < NAMES; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return NAMES;
}

static DsCode
look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	size_t i = number(name);

	(void) context;
	(void) status;
	*exists = i < NAMES && file[i] != NULL;
	*size = *exists ? length[i] : 0;
	return DS_OK;
}

static DsCode
read_part(void *context, const char *name, uint64_t offset, void *buffer, size_t size,
		  DsStatus *status)
{
	size_t i = number(name);

	(void) context;
	(void) status;
	if (i >= NAMES || file[i] == NULL || offset > length[i] || size > length[i] - offset)
		abort();
	memcpy(buffer, file[i] + offset, size);
	return DS_OK;
}

static const char *
name_of(void *context, size_t i)
{
	(void) context;
	return i < NAMES ? names[i] : NULL;
}

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const DsFolder folder = {look, read_part, name_of, NULL};
	DsArena arena, scratch;
	DsEncoderSource source;
	DsStatus status;

	memset(file, 0, sizeof(file));
	while (size >= 3)
	{
		size_t i = data[0] % NAMES;
		size_t n = (size_t) data[1] | (size_t) data[2] << 8;

		data += 3;
		size -= 3;
		if (n > size)
			n = size;
		file[i] = data;
		length[i] = n;
		data += n;
		size -= n;
	}
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
