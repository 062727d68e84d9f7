/*
 * tflite_tower.c
 *		A tower of the classic dual encoder as a file of TensorFlow Lite:
 *
 *	 weights = mask * scale(number of ids)           [1, tokens]
 *	 x = weights times rows of the table             [1, embedding_dims]
 *	 x = dense layers, with ReLU inside the product
 *	 x / |x|, where scores are cosines
 */
#include "format/tflite.h"
#include "format/tflite_graph.h"

#include <stdio.h>
#include <string.h>

static DsTfTensor
bag(DsTfGraph *graph, const DsTowerConfig *tower, const char *table, uint32_t tokens)
{
	DsTfTensor ids = ds_tf_input(graph, "input_ids", DS_TF_I32, DS_TF_SHAPE(1, tokens));
	DsTfTensor mask = ds_tf_cast(
		graph, ds_tf_input(graph, "attention_mask", DS_TF_I32, DS_TF_SHAPE(1, tokens)), DS_TF_F32);
	DsTfTensor rows = ds_tf_lookup(graph, table, tower->vocabulary, tower->embedding_dims,
								   ds_tf_reshape(graph, ids, DS_TF_SHAPE(tokens)));
	/* a text without ids is zeros, whatever it is divided by */
	DsTfTensor n = ds_tf_binary(graph, DS_TF_MAXIMUM, ds_tf_reduce(graph, DS_TF_SUM, mask, 1),
								ds_tf_number(graph, 1));

	if (tower->pooling == DS_POOLING_MEAN)
		mask = ds_tf_binary(graph, DS_TF_DIV, mask, n);
	else if (tower->pooling == DS_POOLING_SQRTN)
		mask = ds_tf_binary(graph, DS_TF_MUL, mask, ds_tf_unary(graph, DS_TF_RSQRT, n));
	return ds_tf_multiply(graph, mask, rows, false);
}

DsCode
ds_tflite_tower(const DsDualEncoderConfig *config, DsSide side, const DsTfliteOptions *options,
				const DsTensorSource *source, const char *file, DsPlan *plan,
				const DsCancel *cancel, DsStatus *status)
{
	DsDualEncoder *encoder = ds_arena_alloc(plan->arena, 1, sizeof(DsDualEncoder));
	const DsTowerConfig *tower = &config->tower[config->shared ? 0 : side];
	const DsParameter *parameter;
	DsTfGraph graph;
	DsTfTensor x;
	DsCode code;

	if (encoder == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	code = ds_dual_encoder_plan(config, encoder, status);
	if (code != DS_OK)
		return code;
	ds_tf_begin(&graph, options->weights, source, plan->arena, cancel, status);
	parameter = &encoder->parameter[encoder->first_parameter[side]];
	if (!tower->features && (options->tokens == 0 || options->tokens > DS_SPEC_MAX_TOKENS))
		ds_tf_fail(&graph, DS_INVALID, "tokens must be between 1 and %d", DS_SPEC_MAX_TOKENS);
	if (tower->features)
		x = ds_tf_input(&graph, "features", DS_TF_F32, DS_TF_SHAPE(1, tower->embedding_dims));
	else
		x = bag(&graph, tower, (parameter++)->name, options->tokens);
	for (uint32_t i = 0; i < tower->dense_count; i++, parameter += 2)
	{
		char name[sizeof(parameter->name)];
		DsTfDense dense = {.name = name,
						   .outs = tower->dense[i],
						   .bias = true,
						   .transposed = true,
						   .relu = i + 1 < tower->dense_count || tower->last_relu};

		/* "query.dense.0" of "query.dense.0.weight" */
		memcpy(name, parameter->name, sizeof(name));
		*strrchr(name, '.') = '\0';
		x = ds_tf_dense(&graph, x, &dense);
	}
	if (config->score == DS_SCORE_COSINE)
		x = ds_tf_unary(&graph, DS_TF_L2_NORMALIZATION, x);
	ds_tf_output(&graph, "embedding", x);
	return ds_tf_plan(&graph, file, "an encoder of deepsearch", plan);
}
