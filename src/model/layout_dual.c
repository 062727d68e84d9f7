/*
 * layout_dual.c
 *		Dual encoders: a section for each tensor, called as the tensor is.
 */
#include "model/layout.h"

#include "model/stored_source.h"

#define FLOATS ((uint64) 1 << 18) /* converted at once */

/* parameters, and then the tokenizers */
typedef struct Tensors
{
	int count;
	DsStored stored[DS_PARAMETERS_MAX + 2];
} Tensors;

static char *
tokenizer_name(const DsModel *model, int tower)
{
	return psprintf("%s.tokenizer", ds_config_tower_name(&model->config, tower));
}

static void
describe(DsReader *reader, const char *name, bool numbers, Tensors *tensors)
{
	DsStored *stored = &tensors->stored[tensors->count++];

	ds_reader_need(reader, name, stored);
	if (numbers ? !ds_dtype_has_floats(stored->dtype) : stored->dtype != DS_DTYPE_U8)
		ds_store_damaged(reader->key, name, psprintf("has type %s", ds_dtype_name(stored->dtype)));
}

/* The tokenizer tells the vocabulary, and so the parameters' shapes. */
static void
check_shapes(DsModel *model, DsReader *reader, const Tensors *tensors, size_t parameters)
{
	uint32_t vocabulary[2] = {0, 0};
	DsDualEncoderConfig config;
	DsDualEncoder *encoder = palloc(sizeof(DsDualEncoder));
	DsStatus status;

	for (int t = 0; t < ds_config_tokenizers(&model->config); t++)
	{
		const DsStored *stored = &tensors->stored[parameters + (size_t) t];
		char *blob = MemoryContextAllocHuge(CurrentMemoryContext, stored->bytes);
		DsTokenizer tokenizer;

		for (uint64 offset = 0; offset < stored->bytes;)
		{
			size_t size;
			const char *bytes = ds_reader_bytes(reader, stored, offset, &size);

			memcpy(blob + offset, bytes, size);
			offset += size;
		}
		ds_check(ds_tokenizer_open(&tokenizer, blob, stored->bytes, &status), &status);
		vocabulary[t] = tokenizer.vocabulary;
		pfree(blob);
	}
	if (model->config.shared)
		vocabulary[1] = vocabulary[0];
	config = ds_config_encoder(&model->config, vocabulary);
	ds_check(ds_dual_encoder_plan(&config, encoder, &status), &status);
	for (size_t i = 0; i < encoder->parameter_count; i++)
	{
		const DsParameter *parameter = &encoder->parameter[i];
		const DsStored *stored = &tensors->stored[i];
		bool same = stored->rank == (int) parameter->shape_count;

		for (int d = 0; same && d < stored->rank; d++)
			same = stored->shape[d] == (int64) parameter->shape[d];
		if (!same)
			ds_store_damaged(model->key, parameter->name,
							 "has another shape than the model's config");
	}
	pfree(encoder);
}

static int
sections(DsModel *model, DsReader *reader, DsSection *out, void **state)
{
	/* names do not depend on the vocabulary, which the tokenizer will tell */
	static const uint32_t any[2] = {1, 1};
	DsDualEncoderConfig config = ds_config_encoder(&model->config, any);
	DsDualEncoder *names = palloc(sizeof(DsDualEncoder));
	Tensors *tensors = palloc0(sizeof(Tensors));
	DsStatus status;

	ds_check(ds_dual_encoder_plan(&config, names, &status), &status);
	for (size_t i = 0; i < names->parameter_count; i++)
		describe(reader, names->parameter[i].name, true, tensors);
	for (int t = 0; t < ds_config_tokenizers(&model->config); t++)
		describe(reader, tokenizer_name(model, t), false, tensors);
	check_shapes(model, reader, tensors, names->parameter_count);
	for (int i = 0; i < tensors->count; i++)
	{
		strlcpy(out[i].name, tensors->stored[i].name, DS_SECTION_NAME);
		/* numbers are used in f32, however they are stored */
		out[i].size = tensors->stored[i].dtype == DS_DTYPE_U8
						  ? tensors->stored[i].bytes
						  : tensors->stored[i].elements * sizeof(float);
	}
	*state = tensors;
	return tensors->count;
}

/* Numbers of another type, or with scales */
static void
append_floats(DsReader *reader, const DsStored *stored, DsSharedBuild *build)
{
	DsStoredSource state;
	DsTensorSource source = ds_stored_source(&state, reader, "");
	float *values = palloc(sizeof(float) * FLOATS);

	for (uint64 first = 0; first < stored->elements; first += FLOATS)
	{
		size_t n = Min(stored->elements - first, FLOATS);
		DsStatus status;

		ds_guard_check(&state.guard,
					   source.read(source.context, stored->name, first, n, values, &status),
					   &status);
		ds_shared_append(build, values, n * sizeof(float));
	}
	pfree(values);
}

static void
fill(DsModel *model pg_attribute_unused(), DsReader *reader, DsSharedBuild *build, void *state)
{
	const Tensors *tensors = state;

	for (int i = 0; i < tensors->count; i++)
	{
		const DsStored *stored = &tensors->stored[i];

		/* a version that is stored as changes has f32 */
		if (stored->dtype == DS_DTYPE_F32 || stored->dtype == DS_DTYPE_U8)
			ds_layout_copy(reader, stored, build);
		else
			append_floats(reader, stored, build);
	}
}

/* Point tokenizers and encoder into the mapping. */
static void
attach(DsModel *model)
{
	uint32_t vocabulary[2];
	DsDualEncoderConfig config;
	DsStatus status;

	for (int t = 0; t < ds_config_tokenizers(&model->config); t++)
	{
		const char *name = tokenizer_name(model, t);

		model->tokenizer_blob[t] = ds_layout_section(model, name, 0);
		model->tokenizer_size[t] = ds_shared_section(&model->shared, name)->size;
		ds_check(ds_tokenizer_open(&model->tokenizer[t], model->tokenizer_blob[t],
								   model->tokenizer_size[t], &status),
				 &status);
		ds_check(
			ds_tokenizer_scratch(&model->tokenizer[t], &model->arena, &model->tokens[t], &status),
			&status);
		model->tokens[t].cancel = &ds_server_cancel;
	}
	if (model->config.shared && !ds_config_features(&model->config))
	{
		model->tokenizer[1] = model->tokenizer[0];
		model->tokenizer_blob[1] = model->tokenizer_blob[0];
		model->tokenizer_size[1] = model->tokenizer_size[0];
		model->tokens[1] = model->tokens[0];
	}
	for (int t = 0; t < 2; t++)
		vocabulary[t] = model->tokenizer[t].vocabulary;
	config = ds_config_encoder(&model->config, vocabulary);
	ds_check(ds_dual_encoder_plan(&config, &model->encoder, &status), &status);
	for (size_t i = 0; i < model->encoder.parameter_count; i++)
	{
		DsParameter *parameter = &model->encoder.parameter[i];

		/* inference only reads */
		parameter->value = (float *) unconstify(
			char *, ds_layout_section(model, parameter->name, sizeof(float) * parameter->count));
	}
	model->scratch =
		ds_arena_alloc(&model->arena, ds_dual_encoder_scratch(&model->encoder), sizeof(float));
	if (model->scratch == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	model->dims = (int) model->encoder.dims;
}

const DsLayout ds_layout_dual = {sections, fill, attach};
