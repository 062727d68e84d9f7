/*
 * layout_dual.c
 *		Dual encoders: a section for each tensor, called as the tensor is.
 */
#include "model/layout.h"

/* parameters, and then the tokenizers */
typedef struct Tensors
{
	int count;
	int numbers; /* parameters */
	DsStored stored[DS_PARAMETERS_MAX + 2];
	bool table[DS_PARAMETERS_MAX + 2]; /* of tokens */
	void *tokenizer[2];
	size_t tokenizer_size[2];
} Tensors;

static int
tokenizers(const DsModel *model)
{
	return ds_config_features(&model->config) ? 0 : ds_config_towers(&model->config);
}

static char *
tokenizer_name(const DsModel *model, int tower)
{
	return psprintf("%s.tokenizer", ds_config_tower_name(&model->config, tower));
}

static void
describe(DsReader *reader, const char *name, bool table, Tensors *tensors)
{
	tensors->table[tensors->count] = table;
	ds_reader_need(reader, name, &tensors->stored[tensors->count++]);
}

/* The tokenizers tell the vocabulary, and so the parameters' shapes. */
static void
check_shapes(DsModel *model, DsReader *reader, Tensors *tensors)
{
	uint32_t vocabulary[2] = {0, 0};
	DsDualEncoderConfig config;
	DsDualEncoder *encoder = palloc(sizeof(DsDualEncoder));
	DsStatus status;

	for (int t = 0; t < tokenizers(model); t++)
	{
		DsTokenizer tokenizer;

		tensors->tokenizer[t] = ds_layout_tokenizer(reader, &tensors->stored[tensors->numbers + t],
													&tensors->tokenizer_size[t]);
		ds_check(ds_tokenizer_open(&tokenizer, tensors->tokenizer[t], tensors->tokenizer_size[t],
								   &status),
				 &status);
		vocabulary[t] = tokenizer.vocabulary;
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
	int count = 0;
	DsStatus status;

	ds_check(ds_dual_encoder_plan(&config, names, &status), &status);
	for (size_t i = 0; i < names->parameter_count; i++)
		describe(reader, names->parameter[i].name, names->parameter[i].sparse, tensors);
	tensors->numbers = tensors->count;
	for (int t = 0; t < tokenizers(model); t++)
		describe(reader, tokenizer_name(model, t), false, tensors);
	check_shapes(model, reader, tensors);
	for (int i = 0; i < tensors->numbers; i++)
		count += ds_layout_numbers(reader, &tensors->stored[i], tensors->table[i], out + count);
	for (int t = 0; t < tokenizers(model); t++)
	{
		strlcpy(out[count].name, tokenizer_name(model, t), DS_SECTION_NAME);
		out[count++].size = tensors->tokenizer_size[t];
	}
	*state = tensors;
	return count;
}

static void
fill(DsModel *model, DsReader *reader, DsSharedBuild *build, void *state)
{
	const Tensors *tensors = state;

	for (int i = 0; i < tensors->numbers; i++)
		ds_layout_fill_numbers(reader, &tensors->stored[i], tensors->table[i], build);
	for (int t = 0; t < tokenizers(model); t++)
		ds_shared_append(build, tensors->tokenizer[t], tensors->tokenizer_size[t]);
}

/* Point tokenizers and encoder into the mapping. */
static void
attach(DsModel *model)
{
	uint32_t vocabulary[2];
	DsDualEncoderConfig config;
	DsStatus status;

	for (int t = 0; t < tokenizers(model); t++)
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
		ds_layout_attach_numbers(model, model->encoder.parameter[i].name,
								 &model->encoder.parameter[i]);
	model->scratch =
		ds_arena_alloc(&model->arena, ds_dual_encoder_scratch(&model->encoder), sizeof(float));
	if (model->scratch == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	model->dims = (int) model->encoder.dims;
}

const DsLayout ds_layout_dual = {sections, fill, attach};
