/*
 * graph.c
 *		A graph of operations while it is put together: what is the same in all formats.
 *
 * Weights of linear layers are written as [in, out], so that a product is one
 * operation.  With int8 they are of i8 with a scale for each output.
 */
#include "format/graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

DsCode
ds_graph_begin(DsGraph *g, const DsGraphTarget *target, DsStatus *status)
{
	memset(g, 0, sizeof(*g));
	g->format = target->format;
	g->target = target;
	g->arena = target->plan->arena;
	g->status = status;
	if (target->int8 && g->format->product_int8 == NULL)
		ds_graph_refuse(g, "int8");
	else if (!g->format->begin(g))
		ds_graph_fail(g, DS_OUT_OF_MEMORY, "out of memory");
	return g->code;
}

DsCode
ds_graph_plan(DsGraph *g)
{
	return g->code == DS_OK ? g->format->plan(g) : g->code;
}

void
ds_graph_fail(DsGraph *g, DsCode code, const char *format, ...)
{
	char message[DS_MESSAGE_SIZE];
	va_list args;

	if (g->code != DS_OK)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	g->code = ds_fail(g->status, code, "%s", message);
}

void
ds_graph_refuse(DsGraph *g, const char *what)
{
	ds_graph_fail(g, DS_UNSUPPORTED, "%s has no counterpart in %s", what, g->format->name);
}

/* ---- operations ---- */

DsGraphValue
ds_graph_input(DsGraph *g, const char *name, DsGraphType type, const char *const *axes,
			   const uint64_t *sizes, size_t rank)
{
	return g->format->input(g, name, type, axes, sizes, rank);
}

void
ds_graph_output(DsGraph *g, DsGraphValue value, const char *name, uint64_t dims)
{
	g->format->output(g, value, name, dims);
}

DsGraphValue
ds_graph_integers(DsGraph *g, const int64_t *values, size_t count)
{
	return g->format->integers(g, values, count, 1);
}

DsGraphValue
ds_graph_integer(DsGraph *g, int64_t value)
{
	return g->format->integers(g, &value, 1, 0);
}

DsGraphValue
ds_graph_floats(DsGraph *g, const float *values, const uint64_t *shape, size_t rank)
{
	return g->format->floats(g, values, shape, rank);
}

DsGraphValue
ds_graph_real(DsGraph *g, float value)
{
	return g->format->floats(g, &value, NULL, 0);
}

DsGraphValue
ds_graph_1(DsGraph *g, DsGraphOp op, DsGraphValue a)
{
	return ds_graph_3(g, op, a, 0, 0);
}

DsGraphValue
ds_graph_2(DsGraph *g, DsGraphOp op, DsGraphValue a, DsGraphValue b)
{
	return ds_graph_3(g, op, a, b, 0);
}

DsGraphValue
ds_graph_3(DsGraph *g, DsGraphOp op, DsGraphValue a, DsGraphValue b, DsGraphValue c)
{
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {a, b, c};

	return g->format->apply(g, op, inputs);
}

DsGraphValue
ds_graph_gather(DsGraph *g, DsGraphValue from, DsGraphValue at, int64_t axis)
{
	return g->format->gather(g, from, at, axis);
}

DsGraphValue
ds_graph_pick(DsGraph *g, DsGraphValue x, DsGraphValue at)
{
	return g->format->pick(g, x, at);
}

DsGraphValue
ds_graph_float(DsGraph *g, DsGraphValue a)
{
	return g->format->cast(g, a, DS_GRAPH_FLOAT);
}

DsGraphValue
ds_graph_int64(DsGraph *g, DsGraphValue a)
{
	return g->format->cast(g, a, DS_GRAPH_INT64);
}

DsGraphValue
ds_graph_unsqueeze(DsGraph *g, DsGraphValue a, int64_t first, int64_t second)
{
	const int64_t axes[2] = {first, second};

	return g->format->unsqueeze(g, a, axes, second < 0 ? 1 : 2);
}

DsGraphValue
ds_graph_transpose(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t rank)
{
	return g->format->transpose(g, a, axes, rank);
}

DsGraphValue
ds_graph_reshape(DsGraph *g, DsGraphValue a, const int64_t *shape, size_t rank)
{
	return g->format->reshape(g, a, shape, rank);
}

DsGraphValue
ds_graph_scaled(DsGraph *g, DsGraphValue a, float factor)
{
	return ds_graph_2(g, DS_OP_MUL, a, ds_graph_real(g, factor));
}

DsGraphValue
ds_graph_slice(DsGraph *g, DsGraphValue a, int64_t axis, int64_t begin, int64_t end)
{
	return g->format->slice(g, a, axis, begin, end);
}

DsGraphValue
ds_graph_split(DsGraph *g, DsGraphValue x, const int64_t *sizes, size_t count)
{
	return g->format->split(g, x, sizes, count);
}

DsGraphValue
ds_graph_concat(DsGraph *g, const DsGraphValue inputs[DS_GRAPH_INPUTS], int64_t axis)
{
	return g->format->concat(g, inputs, axis);
}

DsGraphValue
ds_graph_reduce(DsGraph *g, DsGraphReduction how, DsGraphValue x, int64_t axis, bool keep)
{
	return g->format->reduce(g, how, x, axis, keep);
}

DsGraphValue
ds_graph_sum(DsGraph *g, DsGraphValue x, int64_t axis, bool keep)
{
	return ds_graph_reduce(g, DS_REDUCE_SUM, x, axis, keep);
}

/* ---- weights ---- */

static bool
find_part(DsGraph *g, const char *name, uint64_t rows, uint64_t columns, bool linear,
		  DsPlanPart *part)
{
	if (g->code == DS_OK && !ds_plan_part(g->target->stored, name, rows, columns, linear, part))
		ds_graph_fail(g, DS_BAD_DATA, "tensor \"%s\" is missing", name);
	if (g->code != DS_OK)
		return false;
	part->dtype = DS_DTYPE_F32;
	return true;
}

static DsGraphValue
weight_of(DsGraph *g, const char *name, const DsPlanPart *part, const uint64_t *shape, size_t rank)
{
	const DsGraphWeight weight = {.name = name, .part = part, .shape = shape, .rank = rank};

	return g->format->weight(g, &weight);
}

DsGraphValue
ds_graph_weight(DsGraph *g, const char *name, uint64_t rows, uint64_t columns)
{
	const uint64_t shape[2] = {rows, columns};
	DsPlanPart part;

	if (!find_part(g, name, rows, columns, false, &part))
		return 0;
	return weight_of(g, name, &part, shape, columns > 1 ? 2 : 1);
}

DsGraphValue
ds_graph_weight_int64(DsGraph *g, const char *name, uint64_t rows)
{
	DsPlanPart part;

	if (!find_part(g, name, rows, 1, false, &part))
		return 0;
	part.dtype = DS_DTYPE_I64;
	return weight_of(g, name, &part, &rows, 1);
}

/* Numbers of a part in i8; false after a failure */
static bool
shorten(DsGraph *g, DsPlanPart *part, bool by_column)
{
	part->dtype = DS_DTYPE_I8;
	part->column_scales = by_column;
	if (g->code == DS_OK)
		g->code = ds_plan_scales(part, g->target->source, g->arena, g->target->cancel, g->status);
	return g->code == DS_OK;
}

DsGraphValue
ds_graph_linear(DsGraph *g, DsGraphValue x, const DsGraphLinear *linear)
{
	const uint64_t shape[2] = {linear->ins, linear->outs};
	char full[DS_SPEC_NAME + 8];
	DsPlanPart part;
	DsGraphValue y;
	bool there;

	snprintf(full, sizeof(full), "%s.weight", linear->name);
	if (linear->turned)
		there = find_part(g, full, linear->ins, linear->outs, false, &part);
	else
		there = find_part(g, full, linear->outs, linear->ins, true, &part);
	if (!there)
		return x;
	/* written as [ins, outs] */
	if (!linear->turned)
		part.transpose = !part.transpose;
	if (g->target->int8 && !linear->exact)
	{
		const DsGraphWeight weight = {.name = full, .part = &part, .shape = shape, .rank = 2};

		if (!shorten(g, &part, !part.transpose))
			return x;
		y = g->format->product_int8(g, x, &weight, linear->weight_only);
	}
	else
		y = ds_graph_2(g, DS_OP_MATMUL, x, weight_of(g, full, &part, shape, 2));
	if (!linear->bias)
		return y;
	snprintf(full, sizeof(full), "%s.bias", linear->name);
	return ds_graph_2(g, DS_OP_ADD, y, ds_graph_weight(g, full, linear->outs, 1));
}

DsGraphValue
ds_graph_rows(DsGraph *g, const char *name, uint64_t rows, uint64_t columns, DsGraphValue ids)
{
	const uint64_t shape[2] = {rows, columns};
	DsPlanPart part;
	const DsGraphWeight table = {.name = name, .part = &part, .shape = shape, .rank = 2};

	if (!g->target->int8)
		return ds_graph_gather(g, ds_graph_weight(g, name, rows, columns), ids, 0);
	if (!find_part(g, name, rows, columns, false, &part) || !shorten(g, &part, false))
		return ids;
	return g->format->rows_int8(g, &table, ids);
}

/* ---- functions ---- */

DsGraphValue
ds_graph_activate(DsGraph *g, DsGraphValue x, uint32_t activation)
{
	switch (activation)
	{
		case DS_ACT_IDENTITY:
			return x;
		case DS_ACT_GELU:
			return ds_graph_2(
				g, DS_OP_MUL, ds_graph_scaled(g, x, 0.5f),
				ds_graph_2(g, DS_OP_ADD,
						   ds_graph_1(g, DS_OP_ERF, ds_graph_scaled(g, x, (float) M_SQRT1_2)),
						   ds_graph_real(g, 1)));
		case DS_ACT_GELU_TANH:
		{
			DsGraphValue cube = ds_graph_2(g, DS_OP_MUL, ds_graph_2(g, DS_OP_MUL, x, x), x);
			DsGraphValue inner = ds_graph_2(g, DS_OP_ADD, x, ds_graph_scaled(g, cube, 0.044715f));
			float factor = (float) sqrt(2 / 3.14159265358979324);

			return ds_graph_2(
				g, DS_OP_MUL, ds_graph_scaled(g, x, 0.5f),
				ds_graph_2(g, DS_OP_ADD,
						   ds_graph_1(g, DS_OP_TANH, ds_graph_scaled(g, inner, factor)),
						   ds_graph_real(g, 1)));
		}
		case DS_ACT_QUICK_GELU:
			return ds_graph_2(g, DS_OP_MUL, x,
							  ds_graph_1(g, DS_OP_SIGMOID, ds_graph_scaled(g, x, 1.702f)));
		case DS_ACT_RELU:
			return ds_graph_1(g, DS_OP_RELU, x);
		case DS_ACT_SILU:
			return ds_graph_2(g, DS_OP_MUL, x, ds_graph_1(g, DS_OP_SIGMOID, x));
		case DS_ACT_TANH:
			return ds_graph_1(g, DS_OP_TANH, x);
		case DS_ACT_SIGMOID:
			return ds_graph_1(g, DS_OP_SIGMOID, x);
		default:
			ds_graph_fail(g, DS_UNSUPPORTED, "the activation \"%s\" has no counterpart in %s",
						  ds_activation_name(activation), g->format->name);
			return x;
	}
}

DsGraphValue
ds_graph_norm(DsGraph *g, DsGraphValue x, const char *name, uint64_t dims, bool bias, float epsilon)
{
	char full[DS_SPEC_NAME + 8];
	DsGraphValue weight;

	snprintf(full, sizeof(full), "%s.weight", name);
	weight = ds_graph_weight(g, full, dims, 1);
	snprintf(full, sizeof(full), "%s.bias", name);
	return g->format->norm(g, x, weight, bias ? ds_graph_weight(g, full, dims, 1) : 0, epsilon);
}

DsGraphValue
ds_graph_normalize(DsGraph *g, DsGraphValue x)
{
	return ds_graph_2(g, DS_OP_DIV, x,
					  ds_graph_2(g, DS_OP_MAX, ds_graph_reduce(g, DS_REDUCE_L2, x, -1, true),
								 ds_graph_real(g, 1e-12f)));
}

DsGraphValue
ds_graph_modules(DsGraph *g, DsGraphValue v, const DsSpecModule *modules, uint32_t count)
{
	for (uint32_t m = 0; m < count; m++)
	{
		const DsSpecModule *module = &modules[m];
		char name[DS_SPEC_NAME];

		snprintf(name, sizeof(name), "module.%u", m);
		if (module->kind == DS_MODULE_DENSE)
		{
			const DsGraphLinear linear = {.name = name,
										  .ins = module->in,
										  .outs = module->out,
										  .bias = module->bias != 0,
										  .exact = true};

			v = ds_graph_activate(g, ds_graph_linear(g, v, &linear), module->activation);
		}
		else if (module->kind == DS_MODULE_NORM)
			v = ds_graph_norm(g, v, name, module->in, module->bias != 0, module->epsilon);
		else if (module->kind == DS_MODULE_NORMALIZE)
			v = ds_graph_normalize(g, v);
		else
			v = ds_graph_slice(g, v, -1, 0, module->out);
	}
	return v;
}

/* ---- pictures ---- */

DsGraphValue
ds_graph_picture(DsGraph *g, DsGraphValue pixels)
{
	static const int64_t last[4] = {0, 2, 3, 1};

	return g->format->channels_last ? ds_graph_transpose(g, pixels, last, 4) : pixels;
}

DsGraphValue
ds_graph_convolve(DsGraph *g, DsGraphValue x, uint32_t number, const DsImageLayer *layer,
				  uint32_t channels)
{
	static const char *const names[] = {"weight", "bias", "mean", "var"};
	const uint64_t window = (uint64_t) layer->kernel_height * layer->kernel_width;
	const uint64_t first[4] = {layer->out, channels, layer->kernel_height, layer->kernel_width};
	const uint64_t last[4] = {layer->kernel_height, layer->kernel_width, channels, layer->out};
	char name[DS_SPEC_NAME];
	DsGraphValue norm[4];
	DsGraphValue weight;
	DsPlanPart part;

	snprintf(name, sizeof(name), "layer.%u.weight", number);
	if (!find_part(g, name, layer->out, channels * window, false, &part))
		return x;
	if (g->format->channels_last)
	{
		part.transpose = true;
		part.inner = window;
	}
	weight = weight_of(g, name, &part, g->format->channels_last ? last : first, 4);
	snprintf(name, sizeof(name), "layer.%u.bias", number);
	x = g->format->convolve(g, x, weight, layer->bias ? ds_graph_weight(g, name, layer->out, 1) : 0,
							layer);
	if (!layer->norm)
		return x;
	for (int i = 0; i < 4; i++)
	{
		snprintf(name, sizeof(name), "layer.%u.norm.%s", number, names[i]);
		norm[i] = ds_graph_weight(g, name, layer->out, 1);
	}
	return g->format->batch_norm(g, x, norm, layer->epsilon);
}

DsGraphValue
ds_graph_pool(DsGraph *g, DsGraphValue x, const DsImageLayer *layer)
{
	return g->format->pool(g, x, layer);
}

DsGraphValue
ds_graph_average(DsGraph *g, DsGraphValue x)
{
	return g->format->average(g, x);
}

DsGraphValue
ds_graph_shortcut(DsGraph *g, DsGraphValue x, const DsImageLayer *layer, uint32_t channels)
{
	int64_t before = (layer->out - channels) / 2;

	return g->format->shortcut(g, x, layer->stride, before,
							   (int64_t) layer->out - channels - before);
}
