/*
 * layout_imported.c
 *		Imported models: the compiled tokenizer, and the encoder's blob.
 *
 * The tensors stay in ds_tensor as their file had them.  The blob is made from
 * them piece by piece, converted to the model's precision and in the order in
 * which the forward pass reads them.
 */
#include "model/layout.h"

#include "port/pg_crc32c.h"
#include "utils/memutils.h"

#include "model/guard.h"

#define TOKENIZER_SECTION "tokenizer"
#define ENCODER_SECTION "encoder"

typedef struct State
{
	DsGuard guard;
	DsReader *reader;
	DsSharedBuild *build;
	DsArena arena; /* of the tokenizer's blob */
	void *tokenizer;
	size_t tokenizer_size;
	/* a callback's arguments and result */
	const char *name;
	DsStored stored;
	bool found;
	uint64 first;
	size_t count;
	float *out;
	const void *bytes;
	size_t size;
} State;

void
ds_imported_packing(const DsImportedConfig *config, Jsonb *json, char *packing, size_t size)
{
	pg_crc32c crc;

	/* the file has the shapes in it, and who runs it takes them from the config */
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	FIN_CRC32C(crc);
	snprintf(packing, size, "%s, %s, tokenizer %d, config %08x", DS_ENCODER_IDENTITY,
			 ds_precision_name(config->precision), DS_SUBWORD_VERSION, crc);
}

/* ---- the tensors as the pure code wants them ---- */

static void
do_find(void *argument)
{
	State *state = argument;

	/* asked for again and again as it is read */
	if (strcmp(state->stored.name, state->name) != 0 || state->stored.elements == 0)
		state->found = ds_reader_find(state->reader, state->name, &state->stored);
	else
		state->found = true;
}

static bool
find(void *context, const char *name, uint64_t *values)
{
	State *state = context;
	DsStatus status;

	state->name = name;
	if (ds_guard_call(&state->guard, do_find, state, &status) != DS_OK || !state->found)
	{
		state->stored.elements = 0;
		return false;
	}
	*values = state->stored.elements;
	return true;
}

static void
do_read(void *argument)
{
	State *state = argument;
	unsigned size;
	uint64 offset;
	uint64 left;
	float *out = state->out;

	do_find(state);
	if (!state->found)
		ds_store_damaged(state->reader->key, state->name, "is missing");
	if (!ds_dtype_has_floats(state->stored.dtype))
		ds_store_damaged(state->reader->key, state->name, "has a type that is no number");
	size = ds_dtype_bits(state->stored.dtype) / 8;
	offset = state->first * size;
	left = (uint64) state->count * size;
	if (state->first > state->stored.elements ||
		state->count > state->stored.elements - state->first)
		ds_store_damaged(state->reader->key, state->name, "is shorter than the model needs");
	while (left > 0)
	{
		size_t length;
		const char *bytes = ds_reader_bytes(state->reader, &state->stored, offset, &length);

		/* a chunk has whole elements: its size is a multiple of theirs */
		length = Min(length, left);
		ds_dtype_to_float(state->stored.dtype, bytes, length / size, out);
		out += length / size;
		offset += length;
		left -= length;
	}
}

static DsCode
read_values(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	State *state = context;

	state->name = name;
	state->first = first;
	state->count = count;
	state->out = out;
	return ds_guard_call(&state->guard, do_read, state, status);
}

static void
do_write(void *argument)
{
	State *state = argument;

	ds_shared_append(state->build, state->bytes, state->size);
}

static DsCode
write_bytes(void *context, const void *bytes, size_t size, DsStatus *status)
{
	State *state = context;

	state->bytes = bytes;
	state->size = size;
	return ds_guard_call(&state->guard, do_write, state, status);
}

/* ---- the layout ---- */

static void
compile_tokenizer(DsModel *model, DsReader *reader, State *state)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch file", ALLOCSET_DEFAULT_SIZES);
	DsStored stored;
	char *file;

	ds_reader_need(reader, DS_TOKENIZER_TENSOR, &stored);
	if (stored.dtype != DS_DTYPE_U8)
		ds_store_damaged(reader->key, DS_TOKENIZER_TENSOR, "is not of bytes");
	file = MemoryContextAllocHuge(context, stored.bytes);
	for (uint64 offset = 0; offset < stored.bytes;)
	{
		size_t size;
		const char *bytes = ds_reader_bytes(reader, &stored, offset, &size);

		memcpy(file + offset, bytes, size);
		offset += size;
	}
	ds_imported_tokenizer(&model->pretrained, file, stored.bytes, DS_TOKENIZER_TENSOR,
						  &state->arena, &state->tokenizer, &state->tokenizer_size);
	MemoryContextDelete(context);
}

static int
sections(DsModel *model, DsReader *reader, DsSection *out, void **result)
{
	State *state = palloc0(sizeof(State));
	uint64_t size;
	DsStatus status;

	state->guard.context = CurrentMemoryContext;
	state->reader = reader;
	ds_server_arena(&state->arena, AllocSetContextCreate(CurrentMemoryContext, "deepsearch blob",
														 ALLOCSET_DEFAULT_SIZES));
	compile_tokenizer(model, reader, state);
	ds_check(ds_encoder_size(&model->pretrained.spec, model->pretrained.precision, &size, &status),
			 &status);
	strlcpy(out[0].name, TOKENIZER_SECTION, DS_SECTION_NAME);
	out[0].size = state->tokenizer_size;
	strlcpy(out[1].name, ENCODER_SECTION, DS_SECTION_NAME);
	out[1].size = size;
	*result = state;
	return 2;
}

static void
fill(DsModel *model, DsReader *reader pg_attribute_unused(), DsSharedBuild *build, void *result)
{
	State *state = result;
	DsTensorSource source = {state, find, read_values};
	DsBlobWriter writer = {state, write_bytes};
	DsStatus status;

	ds_shared_append(build, state->tokenizer, state->tokenizer_size);
	ds_arena_free(&state->arena);
	state->build = build;
	ds_guard_check(&state->guard,
				   ds_encoder_layout(&model->pretrained.spec, model->pretrained.precision, &source,
									 &writer, &state->arena, &ds_server_cancel, &status),
				   &status);
	ds_arena_free(&state->arena);
}

static void
attach(DsModel *model)
{
	const char *tokenizer = ds_layout_section(model, TOKENIZER_SECTION, 0);
	const char *encoder = ds_layout_section(model, ENCODER_SECTION, 0);
	DsStatus status;

	ds_check(ds_subword_open(&model->subword, tokenizer,
							 ds_shared_section(&model->shared, TOKENIZER_SECTION)->size, &status),
			 &status);
	ds_check(ds_encoder_open(encoder, ds_shared_section(&model->shared, ENCODER_SECTION)->size,
							 &model->arena, &model->network, &status),
			 &status);
	model->dims = (int) ds_spec_dims(&model->pretrained.spec);
	ds_server_arena(&model->run_arena, AllocSetContextCreate(model->context, "deepsearch run",
															 ALLOCSET_DEFAULT_SIZES));
}

const DsLayout ds_layout_imported = {sections, fill, attach};
