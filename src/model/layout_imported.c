/*
 * layout_imported.c
 *		Imported models: the compiled tokenizer and the encoder's blob, and the blob
 *		of a network over pictures.
 *
 * The tensors stay in ds_tensor as their file had them.  The blob is made from
 * them piece by piece, converted to the model's precision and in the order in
 * which the forward pass reads them.
 */
#include "model/layout.h"

#include "port/pg_crc32c.h"
#include "utils/memutils.h"

#include "model/stored_source.h"

#define TOKENIZER_SECTION "tokenizer"

/* by tower */
static const char *const encoder_section[2] = {"encoder", "document encoder"};
#define IMAGE_SECTION "image"

typedef struct State
{
	DsGuard guard; /* of writing */
	DsSharedBuild *build;
	DsArena arena; /* of the tokenizer's blob */
	void *tokenizer;
	size_t tokenizer_size;
	/* a callback's arguments */
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
	if (!config->texts)
		snprintf(packing, size, "%s, %s, %s, config %08x", DS_IMAGE_IDENTITY, DS_ENCODER_IDENTITY,
				 ds_precision_name(config->precision), crc);
	else
		snprintf(packing, size, "%s%s%s, %s, tokenizer %d, config %08x",
				 config->images ? DS_IMAGE_IDENTITY : "", config->images ? ", " : "",
				 DS_ENCODER_IDENTITY, ds_precision_name(config->precision), DS_SUBWORD_VERSION,
				 crc);
}

/* ---- the blob as the pure code writes it ---- */

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
	ds_reader_all(reader, &stored, file);
	ds_imported_tokenizer(&model->pretrained, file, stored.bytes, DS_TOKENIZER_TENSOR,
						  &state->arena, &state->tokenizer, &state->tokenizer_size);
	MemoryContextDelete(context);
}

static int
sections(DsModel *model, DsReader *reader, DsSection *out, void **result)
{
	State *state = palloc0(sizeof(State));
	const DsImportedConfig *config = &model->pretrained;
	int count = 0;
	uint64_t size;
	DsStatus status;

	state->guard.context = CurrentMemoryContext;
	ds_server_arena(&state->arena, AllocSetContextCreate(CurrentMemoryContext, "deepsearch blob",
														 ALLOCSET_DEFAULT_SIZES));
	if (config->texts)
	{
		compile_tokenizer(model, reader, state);
		ds_check(ds_encoder_size(&config->spec, config->precision, &size, &status), &status);
		strlcpy(out[0].name, TOKENIZER_SECTION, DS_SECTION_NAME);
		out[count++].size = state->tokenizer_size;
		for (int t = 0; t < ds_imported_towers(config); t++)
		{
			strlcpy(out[count].name, encoder_section[t], DS_SECTION_NAME);
			out[count++].size = size;
		}
	}
	if (config->images)
	{
		ds_check(ds_image_network_size(&config->image, config->precision, &size, &status), &status);
		strlcpy(out[count].name, IMAGE_SECTION, DS_SECTION_NAME);
		out[count++].size = size;
	}
	*result = state;
	return count;
}

/* One blob, of the tensors whose names begin with prefix */
static void
fill_blob(DsModel *model, DsReader *reader, State *state, const char *prefix, bool image)
{
	const DsImportedConfig *config = &model->pretrained;
	DsBlobWriter writer = {state, write_bytes};
	DsStatus status;
	DsStoredSource stored;
	DsTensorSource source = ds_stored_source(&stored, reader, prefix);
	DsCode code = image
					  ? ds_image_network_layout(&config->image, config->precision, &source, &writer,
												&state->arena, &ds_server_cancel, &status)
					  : ds_encoder_layout(&config->spec, config->precision, &source, &writer,
										  &state->arena, &ds_server_cancel, &status);

	/* an error of writing, or of reading, or of its own */
	if (state->guard.error != NULL)
		ds_guard_check(&state->guard, code, &status);
	ds_guard_check(&stored.guard, code, &status);
	ds_arena_free(&state->arena);
}

static void
fill(DsModel *model, DsReader *reader, DsSharedBuild *build, void *result)
{
	State *state = result;
	const DsImportedConfig *config = &model->pretrained;

	state->build = build;
	if (config->texts)
	{
		ds_shared_append(build, state->tokenizer, state->tokenizer_size);
		ds_arena_free(&state->arena);
		for (int t = 0; t < ds_imported_towers(config); t++)
			fill_blob(model, reader, state, ds_imported_prefix(config, t), false);
	}
	if (config->images)
		fill_blob(model, reader, state, DS_IMAGE_PREFIX, true);
}

static void
attach_texts(DsModel *model)
{
	const char *tokenizer = ds_layout_section(model, TOKENIZER_SECTION, 0);
	int towers = ds_imported_towers(&model->pretrained);
	DsStatus status;

	ds_check(ds_subword_open(&model->subword, tokenizer,
							 ds_shared_section(&model->shared, TOKENIZER_SECTION)->size, &status),
			 &status);
	for (int t = 0; t < towers; t++)
	{
		const char *encoder = ds_layout_section(model, encoder_section[t], 0);

		ds_check(ds_encoder_open(encoder,
								 ds_shared_section(&model->shared, encoder_section[t])->size,
								 &model->arena, &model->network[t], &status),
				 &status);
	}
	if (towers == 1)
		model->network[1] = model->network[0];
}

static void
attach(DsModel *model)
{
	if (model->pretrained.texts)
		attach_texts(model);
	if (model->pretrained.images)
	{
		const char *image = ds_layout_section(model, IMAGE_SECTION, 0);
		DsStatus status;

		ds_check(ds_image_network_open(image,
									   ds_shared_section(&model->shared, IMAGE_SECTION)->size,
									   &model->arena, &model->image, &status),
				 &status);
	}
	model->dims = ds_imported_dims(&model->pretrained);
	ds_server_arena(&model->run_arena, AllocSetContextCreate(model->context, "deepsearch run",
															 ALLOCSET_DEFAULT_SIZES));
}

const DsLayout ds_layout_imported = {sections, fill, attach};
