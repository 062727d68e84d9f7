/*
 * layout_mixed.c
 *		Dual encoders of which a side reads pictures.
 *
 * A section for each tensor of bags and of fusion, called as the tensor is; for each
 * tower over pictures one, its network as inference reads it, batch norm folded; and the
 * tokenizers.
 */
#include "model/layout.h"

#include "utils/memutils.h"

#include "model/stored_source.h"

/* tensors of a tower beside its network, and its tokenizer */
#define TENSORS_MAX (2 * (DS_PARAMETERS_MAX + 5))

typedef struct State
{
	int count;
	DsStored stored[TENSORS_MAX];
	bool table[TENSORS_MAX]; /* of tokens */
	void *tokenizer[TENSORS_MAX]; /* NULL: numbers */
	size_t tokenizer_size[TENSORS_MAX];
	DsGuard guard; /* of writing */
	DsSharedBuild *build;
	/* a callback's arguments */
	const void *bytes;
	size_t size;
} State;

static const char *const fusion_tensors[] = {"fusion.weight", "fusion.bias", "fusion.no_text",
											 "fusion.no_image"};

static char *
tensor_name(const DsModel *model, int tower, const char *name)
{
	return psprintf("%s.%s", ds_config_tower_name(&model->config, tower), name);
}

static bool
is_fused(const DsModel *model, int tower)
{
	return ds_config_has_images(&model->config, tower) &&
		   ds_config_has_texts(&model->config, tower);
}

/* The bag of a tower, its parameters called "shared..." */
static DsDualEncoder *
plan_bag(const DsModel *model, int tower, uint32 vocabulary)
{
	uint32_t both[2] = {vocabulary, vocabulary};
	DsDualEncoderConfig config = ds_config_encoder(&model->config, both);
	DsDualEncoder *bag = palloc0(sizeof(DsDualEncoder));
	DsStatus status;

	config.tower[0] = config.tower[tower];
	config.shared = true;
	/* fusion reads what is not normalised */
	if (is_fused(model, tower))
		config.score = DS_SCORE_DOT;
	ds_check(ds_dual_encoder_plan(&config, bag, &status), &status);
	return bag;
}

/* "shared.dense.0.bias" of a bag under its name in the tables; NULL: not there */
static char *
bag_tensor(const DsModel *model, int tower, const DsParameter *parameter)
{
	const char *dot = strchr(parameter->name, '.');

	return dot == NULL ? NULL : tensor_name(model, tower, dot + 1);
}

static void
describe(DsReader *reader, const char *name, bool table, State *state)
{
	state->table[state->count] = table;
	ds_reader_need(reader, name, &state->stored[state->count++]);
}

/* What the towers are, but for vocabularies, which the tokenizers tell */
static void
describe_net(const DsModel *model, DsNet *net)
{
	static const uint32_t any[2] = {1, 1};

	ds_config_net(&model->config, any, net);
}

static int
sections(DsModel *model, DsReader *reader, DsSection *out, void **result)
{
	State *state = palloc0(sizeof(State));
	DsNet *net = palloc(sizeof(DsNet));
	int towers = ds_config_towers(&model->config);
	int count = 0;

	state->guard.context = CurrentMemoryContext;
	for (int t = 0; t < towers; t++)
	{
		if (ds_config_has_texts(&model->config, t))
		{
			DsDualEncoder *bag = plan_bag(model, t, 1);

			for (size_t i = 0; i < bag->parameter_count; i++)
			{
				char *name = bag_tensor(model, t, &bag->parameter[i]);

				if (name != NULL)
					describe(reader, name, bag->parameter[i].sparse, state);
			}
			describe(reader, tensor_name(model, t, "tokenizer"), false, state);
			state->tokenizer[state->count - 1] = ds_layout_tokenizer(
				reader, &state->stored[state->count - 1], &state->tokenizer_size[state->count - 1]);
		}
		for (size_t i = 0; i < lengthof(fusion_tensors) && is_fused(model, t); i++)
			describe(reader, tensor_name(model, t, fusion_tensors[i]), false, state);
	}
	for (int i = 0; i < state->count; i++)
	{
		if (state->tokenizer[i] == NULL)
		{
			count += ds_layout_numbers(reader, &state->stored[i], state->table[i], out + count);
			continue;
		}
		strlcpy(out[count].name, state->stored[i].name, DS_SECTION_NAME);
		out[count++].size = state->tokenizer_size[i];
	}
	describe_net(model, net);
	for (int t = 0; t < towers; t++)
	{
		uint64_t size;
		DsStatus status;

		if (!ds_config_has_images(&model->config, t))
			continue;
		ds_check(ds_image_network_size(&net->tower[t].image, DS_PRECISION_F32, &size, &status),
				 &status);
		strlcpy(out[count].name, tensor_name(model, t, "image"), DS_SECTION_NAME);
		out[count++].size = size;
	}
	pfree(net);
	*result = state;
	return count;
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

static void
fill(DsModel *model, DsReader *reader, DsSharedBuild *build, void *result)
{
	State *state = result;
	DsNet *net = palloc(sizeof(DsNet));
	DsArena arena;

	state->build = build;
	for (int i = 0; i < state->count; i++)
		if (state->tokenizer[i] != NULL)
			ds_shared_append(build, state->tokenizer[i], state->tokenizer_size[i]);
		else
			ds_layout_fill_numbers(reader, &state->stored[i], state->table[i], build);
	describe_net(model, net);
	ds_server_arena(&arena, AllocSetContextCreate(CurrentMemoryContext, "deepsearch blob",
												  ALLOCSET_DEFAULT_SIZES));
	for (int t = 0; t < ds_config_towers(&model->config); t++)
	{
		DsBlobWriter writer = {state, write_bytes};
		DsStoredSource stored;
		DsTensorSource source;
		DsStatus status;
		DsCode code;

		if (!ds_config_has_images(&model->config, t))
			continue;
		source = ds_stored_source(&stored, reader, tensor_name(model, t, ""));
		code = ds_image_network_layout(&net->tower[t].image, DS_PRECISION_F32, &source, &writer,
									   &arena, &ds_server_cancel, &status);
		if (state->guard.error != NULL)
			ds_guard_check(&state->guard, code, &status);
		ds_guard_check(&stored.guard, code, &status);
		ds_arena_free(&arena);
	}
	pfree(net);
}

/* ---- from the mapping ---- */

static const float *
values_of(const DsModel *model, const char *name, size_t count)
{
	return (const float *) ds_layout_section(model, name, sizeof(float) * count);
}

static void
attach_text(DsModel *model, int t)
{
	DsMixedTower *tower = &model->mixed[t];
	const char *name = tensor_name(model, t, "tokenizer");
	MemoryContext caller;
	DsStatus status;

	model->tokenizer_blob[t] = ds_layout_section(model, name, 0);
	model->tokenizer_size[t] = ds_shared_section(&model->shared, name)->size;
	ds_check(ds_tokenizer_open(&model->tokenizer[t], model->tokenizer_blob[t],
							   model->tokenizer_size[t], &status),
			 &status);
	ds_check(ds_tokenizer_scratch(&model->tokenizer[t], &model->arena, &model->tokens[t], &status),
			 &status);
	model->tokens[t].cancel = &ds_server_cancel;
	caller = MemoryContextSwitchTo(model->context);
	tower->text = plan_bag(model, t, model->tokenizer[t].vocabulary);
	MemoryContextSwitchTo(caller);
	for (size_t i = 0; i < tower->text->parameter_count; i++)
	{
		DsParameter *parameter = &tower->text->parameter[i];
		char *section = bag_tensor(model, t, parameter);

		/* inference wants no scale */
		if (section != NULL)
			ds_layout_attach_numbers(model, section, parameter);
	}
	tower->text_scratch =
		ds_arena_alloc(&model->arena, ds_dual_encoder_scratch(tower->text), sizeof(float));
	if (tower->text_scratch == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

static void
attach_image(DsModel *model, int t)
{
	DsMixedTower *tower = &model->mixed[t];
	const char *name = tensor_name(model, t, "image");
	DsStatus status;

	ds_check(ds_image_network_open(ds_layout_section(model, name, 0),
								   ds_shared_section(&model->shared, name)->size, &model->arena,
								   &tower->image, &status),
			 &status);
	ds_config_transform(&model->config, t, &tower->transform);
}

static void
attach_fusion(DsModel *model, int t, const DsTower *net)
{
	DsMixedTower *tower = &model->mixed[t];
	DsFusionWeights *fusion = &tower->fusion;

	tower->fused = true;
	fusion->fusion = net->fusion;
	fusion->text = tower->text->dims;
	fusion->image = ds_image_spec_dims(&net->image);
	fusion->dims = net->fusion_dims;
	fusion->weight = values_of(model, tensor_name(model, t, fusion_tensors[0]),
							   (fusion->text + fusion->image) * fusion->dims);
	fusion->bias = values_of(model, tensor_name(model, t, fusion_tensors[1]), fusion->dims);
	fusion->no_text = values_of(model, tensor_name(model, t, fusion_tensors[2]), fusion->text);
	fusion->no_image = values_of(model, tensor_name(model, t, fusion_tensors[3]), fusion->image);
}

static void
attach(DsModel *model)
{
	DsNet *net = palloc(sizeof(DsNet));

	model->mixed = MemoryContextAllocZero(model->context, sizeof(DsMixedTower) * 2);
	ds_server_arena(&model->run_arena, AllocSetContextCreate(model->context, "deepsearch run",
															 ALLOCSET_DEFAULT_SIZES));
	describe_net(model, net);
	for (int t = 0; t < ds_config_towers(&model->config); t++)
	{
		if (ds_config_has_texts(&model->config, t))
			attach_text(model, t);
		if (ds_config_has_images(&model->config, t))
			attach_image(model, t);
		if (is_fused(model, t))
			attach_fusion(model, t, &net->tower[t]);
	}
	model->dims = (int) ds_net_dims(net);
	if (model->config.shared)
	{
		model->mixed[1] = model->mixed[0];
		model->tokenizer[1] = model->tokenizer[0];
		model->tokenizer_blob[1] = model->tokenizer_blob[0];
		model->tokenizer_size[1] = model->tokenizer_size[0];
		model->tokens[1] = model->tokens[0];
	}
	pfree(net);
}

const DsLayout ds_layout_mixed = {sections, fill, attach};
