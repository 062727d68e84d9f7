/*
 * graph_tower.c
 *		A tower of a dual encoder: a table of tokens or features and dense layers, a
 *		network over pictures, or both and what fuses them.
 *
 *	 x = rows of the table, their sum times scale(number of ids)	[batch, embedding_dims]
 *	 x = dense layers, with ReLU between them
 *	 y = fusion of x and the picture's vector; what is missing has a learned one
 *	 y / |y|
 *
 * With int8 tables and weights are of i8, and products are not: there is one scale for all
 * texts of a batch, of which sums of a table's rows differ too much.
 */
#include "format/graph.h"

#include <stdio.h>
#include <string.h>

typedef struct Tower
{
	DsGraph *graph;
	const DsGraphTower *in;
	DsGraphValue some_text; /* f32 [batch, 1]: 1 where the text has tokens */
} Tower;

static const char *const texts[2] = {"batch", "length"};

/* Rows of the table, pooled */
static DsGraphValue
bag(Tower *tower)
{
	DsGraph *g = tower->graph;
	const DsTowerConfig *config = tower->in->bag;
	DsGraphValue ids = ds_graph_input(g, "input_ids", DS_GRAPH_INT64, texts, NULL, 2);
	DsGraphValue mask =
		ds_graph_float(g, ds_graph_input(g, "attention_mask", DS_GRAPH_INT64, texts, NULL, 2));
	DsGraphValue rows =
		ds_graph_rows(g, "embedding", config->vocabulary, config->embedding_dims, ids);
	DsGraphValue one = ds_graph_real(g, 1);
	DsGraphValue count = ds_graph_sum(g, mask, 1, true);
	DsGraphValue some = ds_graph_2(g, DS_OP_MAX, count, one); /* a text without ids is zeros */
	DsGraphValue x = ds_graph_sum(
		g, ds_graph_2(g, DS_OP_MUL, rows, ds_graph_unsqueeze(g, mask, 2, -1)), 1, false);

	if (tower->in->image != NULL)
		tower->some_text = ds_graph_2(g, DS_OP_MIN, count, one);
	if (config->pooling == DS_POOLING_MEAN)
		return ds_graph_2(g, DS_OP_DIV, x, some);
	if (config->pooling == DS_POOLING_SQRTN)
		return ds_graph_2(g, DS_OP_DIV, x, ds_graph_1(g, DS_OP_SQRT, some));
	return x;
}

static DsGraphValue
dense_layers(Tower *tower, DsGraphValue x)
{
	const DsTowerConfig *config = tower->in->bag;
	uint32_t ins = config->embedding_dims;

	for (uint32_t i = 0; i < config->dense_count; i++)
	{
		char name[DS_SPEC_NAME];
		const DsGraphLinear linear = {.name = name,
									  .ins = ins,
									  .outs = config->dense[i],
									  .bias = true,
									  .turned = true,
									  .weight_only = true};

		snprintf(name, sizeof(name), "dense.%u", i);
		x = ds_graph_linear(tower->graph, x, &linear);
		if (i + 1 < config->dense_count || config->last_relu)
			x = ds_graph_1(tower->graph, DS_OP_RELU, x);
		ins = config->dense[i];
	}
	return x;
}

/* x where some is 1, and the learned vector where it is 0 */
static DsGraphValue
or_learned(DsGraph *g, DsGraphValue some, DsGraphValue x, const char *name, uint64_t dims)
{
	return ds_graph_3(g, DS_OP_WHERE, ds_graph_2(g, DS_OP_GREATER, some, ds_graph_real(g, 0)), x,
					  ds_graph_weight(g, name, dims, 1));
}

static DsGraphValue
fuse(Tower *tower, DsGraphValue text, DsGraphValue image, uint64_t dims[2])
{
	DsGraph *g = tower->graph;
	const DsGraphTower *in = tower->in;
	const DsGraphLinear linear = {.name = "fusion",
								  .ins = dims[0] + dims[1],
								  .outs = in->fusion_dims,
								  .bias = true,
								  .turned = true,
								  .exact = true};
	DsGraphValue some_image = ds_graph_unsqueeze(
		g, ds_graph_float(g, ds_graph_input(g, "image_mask", DS_GRAPH_INT64, texts, NULL, 1)), 1,
		-1);
	DsGraphValue both[DS_GRAPH_INPUTS];
	DsGraphValue gate;

	memset(both, 0, sizeof(both));
	both[0] = or_learned(g, tower->some_text, text, "fusion.no_text", dims[0]);
	both[1] = or_learned(g, some_image, image, "fusion.no_image", dims[1]);
	gate = ds_graph_linear(g, ds_graph_concat(g, both, -1), &linear);
	if (in->fusion == DS_FUSION_CONCATENATE)
		return gate;
	gate = ds_graph_1(g, DS_OP_SIGMOID, gate);
	return ds_graph_2(
		g, DS_OP_ADD, ds_graph_2(g, DS_OP_MUL, gate, both[0]),
		ds_graph_2(g, DS_OP_MUL, ds_graph_2(g, DS_OP_SUB, ds_graph_real(g, 1), gate), both[1]));
}

static DsGraphValue
picture(DsGraph *g, const DsImageSpec *spec)
{
	static const char *const axes[4] = {"batch", NULL, NULL, NULL};
	const uint64_t sizes[4] = {0, spec->channels, spec->height, spec->width};

	return ds_graph_image(g, spec,
						  ds_graph_input(g, "pixel_values", DS_GRAPH_FLOAT, axes, sizes, 4));
}

DsCode
ds_graph_tower(const DsGraphTarget *target, const DsGraphTower *in, DsStatus *status)
{
	static const char *const axes[2] = {"batch", NULL};
	DsGraph graph;
	DsGraph *g = &graph;
	Tower tower = {.graph = g, .in = in};
	const DsTowerConfig *config = in->bag;
	uint64_t dims[2] = {0, 0}; /* of the text or features, and of the picture */
	DsGraphValue x = 0;

	if (in->image != NULL && target->int8)
		return ds_fail(status, DS_UNSUPPORTED,
					   "int8 of a network over pictures has no counterpart");
	if (ds_graph_begin(g, target, status) != DS_OK)
		return g->code;
	if (config != NULL)
	{
		const uint64_t sizes[2] = {0, config->embedding_dims};

		if (config->features)
			x = ds_graph_input(g, "features", DS_GRAPH_FLOAT, axes, sizes, 2);
		else
			x = bag(&tower);
		x = dense_layers(&tower, x);
		dims[0] = config->dense_count > 0 ? config->dense[config->dense_count - 1]
										  : config->embedding_dims;
	}
	if (in->image != NULL)
	{
		DsGraphValue image = picture(g, in->image);

		dims[1] = ds_image_spec_dims(in->image);
		x = config != NULL ? fuse(&tower, x, image, dims) : image;
		dims[0] = config != NULL ? in->fusion_dims : dims[1];
	}
	if (in->normalize)
		x = ds_graph_normalize(g, x);
	ds_graph_output(g, x, "embedding", dims[0]);
	return ds_graph_plan(g);
}
