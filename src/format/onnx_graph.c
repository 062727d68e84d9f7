/*
 * onnx_graph.c
 *		A graph of ONNX while it is put together.
 *
 * Weights of linear layers are written as [in, out], so that a product is one
 * MatMul.  With int8 they are of i8 with a scale for each output, and what they
 * are multiplied with is quantised by DynamicQuantizeLinear.
 */
#include "format/onnx_graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
ds_ox_begin(DsOnnxGraph *g, const DsOnnxTarget *target, DsStatus *status)
{
	memset(g, 0, sizeof(*g));
	g->target = target;
	g->status = status;
	ds_onnx_init(&g->onnx, target->plan->arena);
}

DsCode
ds_ox_plan(DsOnnxGraph *g)
{
	if (g->code != DS_OK)
		return g->code;
	return ds_onnx_plan(&g->onnx, g->target->plan, g->target->name, g->status);
}

void
ds_ox_fail(DsOnnxGraph *g, DsCode code, const char *format, ...)
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

/* ---- operations ---- */

DsOnnxValue
ds_ox_1(DsOnnxGraph *g, const char *op, DsOnnxValue a)
{
	return ds_ox_3(g, op, a, 0, 0);
}

DsOnnxValue
ds_ox_2(DsOnnxGraph *g, const char *op, DsOnnxValue a, DsOnnxValue b)
{
	return ds_ox_3(g, op, a, b, 0);
}

DsOnnxValue
ds_ox_3(DsOnnxGraph *g, const char *op, DsOnnxValue a, DsOnnxValue b, DsOnnxValue c)
{
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {a, b, c};

	return ds_onnx_node(&g->onnx, op, inputs, NULL, 1);
}

DsOnnxValue
ds_ox_with(DsOnnxGraph *g, const char *op, DsOnnxValue a, DsOnnxValue b, const char *name,
		   int64_t value, unsigned outputs)
{
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {a, b};
	const DsOnnxAttribute attributes[] = {{.name = name, .kind = 'i', .integer = value},
										  {.name = NULL}};

	return ds_onnx_node(&g->onnx, op, inputs, attributes, outputs);
}

DsOnnxValue
ds_ox_gather(DsOnnxGraph *g, DsOnnxValue from, DsOnnxValue at, int64_t axis)
{
	return ds_ox_with(g, "Gather", from, at, "axis", axis, 1);
}

DsOnnxValue
ds_ox_float(DsOnnxGraph *g, DsOnnxValue a)
{
	return ds_ox_with(g, "Cast", a, 0, "to", DS_ONNX_FLOAT, 1);
}

DsOnnxValue
ds_ox_int64(DsOnnxGraph *g, DsOnnxValue a)
{
	return ds_ox_with(g, "Cast", a, 0, "to", DS_ONNX_INT64, 1);
}

DsOnnxValue
ds_ox_unsqueeze(DsOnnxGraph *g, DsOnnxValue a, int64_t first, int64_t second)
{
	const int64_t axes[2] = {first, second};

	return ds_ox_2(g, "Unsqueeze", a, ds_onnx_integers(&g->onnx, axes, second < 0 ? 1 : 2));
}

DsOnnxValue
ds_ox_transpose(DsOnnxGraph *g, DsOnnxValue a, int64_t p, int64_t q, int64_t r, int64_t s)
{
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {a};
	const DsOnnxAttribute attributes[] = {
		{.name = "perm", .kind = 'l', .list = {p, q, r, s}, .list_count = s < 0 ? 3 : 4},
		{.name = NULL}};

	return ds_onnx_node(&g->onnx, "Transpose", inputs, attributes, 1);
}

DsOnnxValue
ds_ox_reshape(DsOnnxGraph *g, DsOnnxValue a, const int64_t *shape, size_t rank)
{
	return ds_ox_2(g, "Reshape", a, ds_onnx_integers(&g->onnx, shape, rank));
}

DsOnnxValue
ds_ox_scaled(DsOnnxGraph *g, DsOnnxValue a, float factor)
{
	return ds_ox_2(g, "Mul", a, ds_onnx_real(&g->onnx, factor));
}

DsOnnxValue
ds_ox_slice(DsOnnxGraph *g, DsOnnxValue a, int64_t axis, int64_t begin, int64_t end)
{
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {a, ds_onnx_integers(&g->onnx, &begin, 1),
												ds_onnx_integers(&g->onnx, &end, 1),
												ds_onnx_integers(&g->onnx, &axis, 1)};

	return ds_onnx_node(&g->onnx, "Slice", inputs, NULL, 1);
}

DsOnnxValue
ds_ox_split(DsOnnxGraph *g, DsOnnxValue x, const int64_t *sizes, size_t count)
{
	return ds_ox_with(g, "Split", x, ds_onnx_integers(&g->onnx, sizes, count), "axis", -1,
					  (unsigned) count);
}

DsOnnxValue
ds_ox_concat(DsOnnxGraph *g, const DsOnnxValue inputs[DS_ONNX_INPUTS], int64_t axis)
{
	const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = axis},
										  {.name = NULL}};

	return ds_onnx_node(&g->onnx, "Concat", inputs, attributes, 1);
}

DsOnnxValue
ds_ox_sum(DsOnnxGraph *g, DsOnnxValue x, int64_t axis, bool keep)
{
	return ds_ox_with(g, "ReduceSum", x, ds_onnx_integers(&g->onnx, &axis, 1), "keepdims", keep, 1);
}

/* In this opset the axis is an attribute, other than that of ReduceSum. */
DsOnnxValue
ds_ox_reduce(DsOnnxGraph *g, const char *op, DsOnnxValue x, int64_t axis, bool keep)
{
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {x};
	const DsOnnxAttribute attributes[] = {
		{.name = "axes", .kind = 'l', .list = {axis}, .list_count = 1},
		{.name = "keepdims", .kind = 'i', .integer = keep},
		{.name = NULL}};

	return ds_onnx_node(&g->onnx, op, inputs, attributes, 1);
}

/* ---- weights ---- */

static bool
find_part(DsOnnxGraph *g, const char *name, uint64_t rows, uint64_t columns, bool linear,
		  DsPlanPart *part)
{
	if (g->code == DS_OK && !ds_plan_part(g->target->stored, name, rows, columns, linear, part))
		ds_ox_fail(g, DS_BAD_DATA, "tensor \"%s\" is missing", name);
	if (g->code != DS_OK)
		return false;
	part->dtype = DS_DTYPE_F32;
	return true;
}

DsOnnxValue
ds_ox_shaped(DsOnnxGraph *g, const char *name, const uint64_t *shape, size_t rank)
{
	uint64_t columns = 1;
	DsPlanPart part;

	for (size_t d = 1; d < rank; d++)
		columns *= shape[d];
	if (!find_part(g, name, shape[0], columns, true, &part))
		return 0;
	return ds_onnx_weight(&g->onnx, &part, shape, rank);
}

DsOnnxValue
ds_ox_weight(DsOnnxGraph *g, const char *name, uint64_t rows, uint64_t columns)
{
	const uint64_t shape[2] = {rows, columns};
	DsPlanPart part;

	if (!find_part(g, name, rows, columns, false, &part))
		return 0;
	return ds_onnx_weight(&g->onnx, &part, shape, columns > 1 ? 2 : 1);
}

/* Numbers of a part in i8; false after a failure */
static bool
shorten(DsOnnxGraph *g, DsPlanPart *part, bool by_column)
{
	part->dtype = DS_DTYPE_I8;
	part->column_scales = by_column;
	if (g->code == DS_OK)
		g->code =
			ds_plan_scales(part, g->target->source, g->onnx.arena, g->target->cancel, g->status);
	return g->code == DS_OK;
}

DsOnnxValue
ds_ox_linear(DsOnnxGraph *g, DsOnnxValue x, const DsOnnxLinear *linear)
{
	const uint64_t shape[2] = {linear->ins, linear->outs};
	char full[DS_SPEC_NAME + 8];
	DsPlanPart part;
	DsOnnxValue y;
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
		const DsOnnxValue inputs[DS_ONNX_INPUTS] = {x};
		DsOnnxValue matrix;
		DsOnnxValue factor;

		if (!shorten(g, &part, !part.transpose))
			return x;
		matrix = ds_onnx_weight(&g->onnx, &part, shape, 2);
		factor = ds_onnx_floats(&g->onnx, part.scales, &shape[1], 1);
		if (linear->weight_only)
			y = ds_ox_2(g, "MatMul", x, ds_ox_float(g, matrix));
		else
		{
			if (g->quantized_from != x)
			{
				g->quantized = ds_onnx_node(&g->onnx, "DynamicQuantizeLinear", inputs, NULL, 3);
				g->quantized_from = x;
			}
			factor = ds_ox_2(g, "Mul", factor, g->quantized + 1);
			y = ds_ox_float(g, ds_ox_3(g, "MatMulInteger", g->quantized, matrix, g->quantized + 2));
		}
		y = ds_ox_2(g, "Mul", y, factor);
	}
	else
		y = ds_ox_2(g, "MatMul", x, ds_onnx_weight(&g->onnx, &part, shape, 2));
	if (!linear->bias)
		return y;
	snprintf(full, sizeof(full), "%s.bias", linear->name);
	return ds_ox_2(g, "Add", y, ds_ox_weight(g, full, linear->outs, 1));
}

DsOnnxValue
ds_ox_rows(DsOnnxGraph *g, const char *name, uint64_t rows, uint64_t columns, DsOnnxValue ids)
{
	const uint64_t shape[2] = {rows, columns};
	DsPlanPart part;

	if (!g->target->int8)
		return ds_ox_gather(g, ds_ox_weight(g, name, rows, columns), ids, 0);
	if (!find_part(g, name, rows, columns, false, &part) || !shorten(g, &part, false))
		return ids;
	return ds_ox_2(
		g, "Mul",
		ds_ox_float(g, ds_ox_gather(g, ds_onnx_weight(&g->onnx, &part, shape, 2), ids, 0)),
		ds_ox_unsqueeze(g, ds_ox_gather(g, ds_onnx_floats(&g->onnx, part.scales, shape, 1), ids, 0),
						-1, -2));
}

/* ---- functions ---- */

DsOnnxValue
ds_ox_activate(DsOnnxGraph *g, DsOnnxValue x, uint32_t activation)
{
	switch (activation)
	{
		case DS_ACT_IDENTITY:
			return x;
		case DS_ACT_GELU:
			return ds_ox_2(g, "Mul", ds_ox_scaled(g, x, 0.5f),
						   ds_ox_2(g, "Add",
								   ds_ox_1(g, "Erf", ds_ox_scaled(g, x, (float) M_SQRT1_2)),
								   ds_onnx_real(&g->onnx, 1)));
		case DS_ACT_GELU_TANH:
		{
			DsOnnxValue cube = ds_ox_2(g, "Mul", ds_ox_2(g, "Mul", x, x), x);
			DsOnnxValue inner = ds_ox_2(g, "Add", x, ds_ox_scaled(g, cube, 0.044715f));

			return ds_ox_2(
				g, "Mul", ds_ox_scaled(g, x, 0.5f),
				ds_ox_2(g, "Add",
						ds_ox_1(g, "Tanh",
								ds_ox_scaled(g, inner, (float) sqrt(2 / 3.14159265358979324))),
						ds_onnx_real(&g->onnx, 1)));
		}
		case DS_ACT_QUICK_GELU:
			return ds_ox_2(g, "Mul", x, ds_ox_1(g, "Sigmoid", ds_ox_scaled(g, x, 1.702f)));
		case DS_ACT_RELU:
			return ds_ox_1(g, "Relu", x);
		case DS_ACT_SILU:
			return ds_ox_2(g, "Mul", x, ds_ox_1(g, "Sigmoid", x));
		case DS_ACT_TANH:
			return ds_ox_1(g, "Tanh", x);
		case DS_ACT_SIGMOID:
			return ds_ox_1(g, "Sigmoid", x);
		default:
			ds_ox_fail(g, DS_UNSUPPORTED, "the activation \"%s\" has no counterpart in ONNX",
					   ds_activation_name(activation));
			return x;
	}
}

DsOnnxValue
ds_ox_norm(DsOnnxGraph *g, DsOnnxValue x, const char *name, uint64_t dims, bool bias, float epsilon)
{
	char full[DS_SPEC_NAME + 8];
	DsOnnxValue inputs[DS_ONNX_INPUTS] = {x};
	const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = -1},
										  {.name = "epsilon", .kind = 'f', .real = epsilon},
										  {.name = NULL}};

	snprintf(full, sizeof(full), "%s.weight", name);
	inputs[1] = ds_ox_weight(g, full, dims, 1);
	snprintf(full, sizeof(full), "%s.bias", name);
	if (bias)
		inputs[2] = ds_ox_weight(g, full, dims, 1);
	return ds_onnx_node(&g->onnx, "LayerNormalization", inputs, attributes, 1);
}

DsOnnxValue
ds_ox_normalize(DsOnnxGraph *g, DsOnnxValue x)
{
	return ds_ox_2(g, "Div", x,
				   ds_ox_2(g, "Max", ds_ox_reduce(g, "ReduceL2", x, -1, true),
						   ds_onnx_real(&g->onnx, 1e-12f)));
}

DsOnnxValue
ds_ox_modules(DsOnnxGraph *g, DsOnnxValue v, const DsSpecModule *modules, uint32_t count)
{
	for (uint32_t m = 0; m < count; m++)
	{
		const DsSpecModule *module = &modules[m];
		char name[DS_SPEC_NAME];

		snprintf(name, sizeof(name), "module.%u", m);
		if (module->kind == DS_MODULE_DENSE)
		{
			const DsOnnxLinear linear = {.name = name,
										 .ins = module->in,
										 .outs = module->out,
										 .bias = module->bias != 0,
										 .exact = true};

			v = ds_ox_activate(g, ds_ox_linear(g, v, &linear), module->activation);
		}
		else if (module->kind == DS_MODULE_NORM)
			v = ds_ox_norm(g, v, name, module->in, module->bias != 0, module->epsilon);
		else if (module->kind == DS_MODULE_NORMALIZE)
			v = ds_ox_normalize(g, v);
		else
			v = ds_ox_slice(g, v, -1, 0, module->out);
	}
	return v;
}
