/*
 * onnx_tower.c
 *		A tower of a dual encoder: a table of tokens or features and dense layers, a
 *		network over pictures, or both and what fuses them.
 *
 *	 x = rows of the table, their sum times scale(number of ids)	[batch, embedding_dims]
 *	 x = dense layers, with ReLU between them
 *	 y = fusion of x and the picture's vector; what is missing has a learned one
 *	 y / |y|
 *
 * With int8 tables and weights are of i8, and products are not: ONNX has one scale for all
 * texts of a batch, of which sums of a table's rows differ too much.
 */
#include "format/onnx_graph.h"

#include <stdio.h>
#include <string.h>

typedef struct Tower
{
	DsOnnxGraph *graph;
	const DsOnnxTower *in;
	DsOnnxValue some_text; /* f32 [batch, 1]: 1 where the text has tokens */
} Tower;

static const char *const texts[2] = {"batch", "length"};

/* Rows of the table, pooled */
static DsOnnxValue
bag(Tower *tower)
{
	DsOnnxGraph *g = tower->graph;
	const DsTowerConfig *config = tower->in->bag;
	DsOnnxValue ids = ds_onnx_input(&g->onnx, "input_ids", DS_ONNX_INT64, texts, NULL, 2);
	DsOnnxValue mask =
		ds_ox_float(g, ds_onnx_input(&g->onnx, "attention_mask", DS_ONNX_INT64, texts, NULL, 2));
	DsOnnxValue rows = ds_ox_rows(g, "embedding", config->vocabulary, config->embedding_dims, ids);
	DsOnnxValue one = ds_onnx_real(&g->onnx, 1);
	DsOnnxValue count = ds_ox_sum(g, mask, 1, true);
	DsOnnxValue some = ds_ox_2(g, "Max", count, one); /* a text without ids is zeros */
	DsOnnxValue x =
		ds_ox_sum(g, ds_ox_2(g, "Mul", rows, ds_ox_unsqueeze(g, mask, 2, -1)), 1, false);

	if (tower->in->image != NULL)
		tower->some_text = ds_ox_2(g, "Min", count, one);
	if (config->pooling == DS_POOLING_MEAN)
		return ds_ox_2(g, "Div", x, some);
	if (config->pooling == DS_POOLING_SQRTN)
		return ds_ox_2(g, "Div", x, ds_ox_1(g, "Sqrt", some));
	return x;
}

static DsOnnxValue
dense_layers(Tower *tower, DsOnnxValue x)
{
	const DsTowerConfig *config = tower->in->bag;
	uint32_t ins = config->embedding_dims;

	for (uint32_t i = 0; i < config->dense_count; i++)
	{
		char name[DS_SPEC_NAME];
		const DsOnnxLinear linear = {.name = name,
									 .ins = ins,
									 .outs = config->dense[i],
									 .bias = true,
									 .turned = true,
									 .weight_only = true};

		snprintf(name, sizeof(name), "dense.%u", i);
		x = ds_ox_linear(tower->graph, x, &linear);
		if (i + 1 < config->dense_count || config->last_relu)
			x = ds_ox_1(tower->graph, "Relu", x);
		ins = config->dense[i];
	}
	return x;
}

/* x where some is 1, and the learned vector where it is 0 */
static DsOnnxValue
or_learned(DsOnnxGraph *g, DsOnnxValue some, DsOnnxValue x, const char *name, uint64_t dims)
{
	return ds_ox_3(g, "Where", ds_ox_2(g, "Greater", some, ds_onnx_real(&g->onnx, 0)), x,
				   ds_ox_weight(g, name, dims, 1));
}

static DsOnnxValue
fuse(Tower *tower, DsOnnxValue text, DsOnnxValue image, uint64_t dims[2])
{
	DsOnnxGraph *g = tower->graph;
	const DsOnnxTower *in = tower->in;
	const DsOnnxLinear linear = {.name = "fusion",
								 .ins = dims[0] + dims[1],
								 .outs = in->fusion_dims,
								 .bias = true,
								 .turned = true,
								 .exact = true};
	DsOnnxValue some_image = ds_ox_unsqueeze(
		g, ds_ox_float(g, ds_onnx_input(&g->onnx, "image_mask", DS_ONNX_INT64, texts, NULL, 1)), 1,
		-1);
	DsOnnxValue both[DS_ONNX_INPUTS];
	DsOnnxValue gate;

	memset(both, 0, sizeof(both));
	both[0] = or_learned(g, tower->some_text, text, "fusion.no_text", dims[0]);
	both[1] = or_learned(g, some_image, image, "fusion.no_image", dims[1]);
	gate = ds_ox_linear(g, ds_ox_concat(g, both, -1), &linear);
	if (in->fusion == DS_FUSION_CONCATENATE)
		return gate;
	gate = ds_ox_1(g, "Sigmoid", gate);
	return ds_ox_2(g, "Add", ds_ox_2(g, "Mul", gate, both[0]),
				   ds_ox_2(g, "Mul", ds_ox_2(g, "Sub", ds_onnx_real(&g->onnx, 1), gate), both[1]));
}

static DsOnnxValue
picture(DsOnnxGraph *g, const DsImageSpec *spec)
{
	static const char *const axes[4] = {"batch", NULL, NULL, NULL};
	const uint64_t sizes[4] = {0, spec->channels, spec->height, spec->width};

	return ds_ox_image(g, spec,
					   ds_onnx_input(&g->onnx, "pixel_values", DS_ONNX_FLOAT, axes, sizes, 4));
}

DsCode
ds_onnx_tower(const DsOnnxTarget *target, const DsOnnxTower *in, DsStatus *status)
{
	static const char *const axes[2] = {"batch", NULL};
	DsOnnxGraph graph;
	DsOnnxGraph *g = &graph;
	Tower tower = {.graph = g, .in = in};
	const DsTowerConfig *config = in->bag;
	uint64_t dims[2] = {0, 0}; /* of the text or features, and of the picture */
	DsOnnxValue x = 0;

	if (in->image != NULL && target->int8)
		return ds_fail(status, DS_UNSUPPORTED,
					   "int8 of a network over pictures has no counterpart");
	ds_ox_begin(g, target, status);
	if (config != NULL)
	{
		const uint64_t sizes[2] = {0, config->embedding_dims};

		if (config->features)
			x = ds_onnx_input(&g->onnx, "features", DS_ONNX_FLOAT, axes, sizes, 2);
		else
			x = bag(&tower);
		x = dense_layers(&tower, x);
		dims[0] = config->dense_count > 0 ? config->dense[config->dense_count - 1]
										  : config->embedding_dims;
	}
	if (in->image != NULL)
	{
		DsOnnxValue image = picture(g, in->image);

		dims[1] = ds_image_spec_dims(in->image);
		x = config != NULL ? fuse(&tower, x, image, dims) : image;
		dims[0] = config != NULL ? in->fusion_dims : dims[1];
	}
	if (in->normalize)
		x = ds_ox_normalize(g, x);
	ds_onnx_output(&g->onnx, x, "embedding", dims[0]);
	return ds_ox_plan(g);
}
