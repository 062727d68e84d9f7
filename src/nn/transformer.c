/*
 * transformer.c
 *		Transformer towers of the shape of BERT, forward, for training.
 *
 * The tokens of all texts of a pass are put behind each other, and everything but
 * attention works row by row, so padding is never computed (as in encoder.c, whose
 * results these are, to rounding).  What the way back needs stays in memory: with
 * h the hidden size and an MLP of 4 h, about 13 h numbers a token and layer.  The
 * weights of attention are not kept, but made again (a text of n tokens would
 * need heads * n numbers a token), nor are the random numbers of dropout: a stream
 * is found again by its key.
 *
 * A layer, norms behind (BERT) or before (norm_first):
 *
 *     in     = x                     norm(x)
 *     mix    = softmax(q k / sqrt(head_dims)) v, with q, k, v of in
 *     middle = x + drop(mix Wo + bo)
 *     up_in  = norm(middle)          norm(middle)
 *     up     = up_in W1 + b1
 *     end    = up_in + drop(act(up) W2 + b2)     middle + ...
 *     next x = norm(end)             end
 *
 * When nothing of a tower learns, its layers share one memory.
 */
#include "nn/transformer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/simd.h"

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* multiplications between two looks at cancel, at most: ten milliseconds */
#define PRODUCT_WORK ((size_t) 1 << 29)

/*
 * The plan: which parameter is what
 */

static LinearPlan
find_linear(const DsTrainer *trainer, size_t t, const char *name)
{
	LinearPlan plan = {DS_NO_PARAMETER, DS_NO_PARAMETER};
	size_t n = strlen(name);

	for (size_t i = trainer->first[t]; i < trainer->head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		const char *own = strchr(p->name, '.') + 1;

		if (p->tower != t || strncmp(own, name, n) != 0)
			continue;
		if (strcmp(own + n, ".weight") == 0)
			plan.weight = i;
		if (strcmp(own + n, ".bias") == 0)
			plan.bias = i;
	}
	return plan;
}

static LinearPlan
find_in_layer(const DsTrainer *trainer, size_t t, unsigned layer, const char *part)
{
	char name[DS_SPEC_NAME];

	snprintf(name, sizeof(name), "layer.%u.%s", layer, part);
	return find_linear(trainer, t, name);
}

static bool
learns(const DsTrainer *trainer, LinearPlan plan)
{
	return (plan.weight != DS_NO_PARAMETER && !trainer->parameter[plan.weight].frozen) ||
		   (plan.bias != DS_NO_PARAMETER && !trainer->parameter[plan.bias].frozen);
}

static void
plan_layer(const DsTrainer *trainer, size_t t, unsigned number, LayerPlan *layer)
{
	static const char *const parts[3] = {"attention.query", "attention.key", "attention.value"};
	bool fused = trainer->head->net.tower[t].spec.qkv_fused;

	layer->attention_norm = find_in_layer(trainer, t, number, "attention.norm");
	for (size_t i = 0; i < 3; i++)
		layer->qkv[i] = find_in_layer(trainer, t, number, fused ? "attention.qkv" : parts[i]);
	layer->out = find_in_layer(trainer, t, number, "attention.out");
	layer->mlp_norm = find_in_layer(trainer, t, number, "mlp.norm");
	layer->up = find_in_layer(trainer, t, number, "mlp.up");
	layer->down = find_in_layer(trainer, t, number, "mlp.down");
	layer->learns = learns(trainer, layer->attention_norm) || learns(trainer, layer->qkv[0]) ||
					learns(trainer, layer->qkv[1]) || learns(trainer, layer->qkv[2]) ||
					learns(trainer, layer->out) || learns(trainer, layer->mlp_norm) ||
					learns(trainer, layer->up) || learns(trainer, layer->down);
}

static TransformerPlan *
make_plan(DsTrainer *trainer, size_t t)
{
	const DsEncoderSpec *spec = &trainer->head->net.tower[t].spec;
	TransformerPlan *plan = ds_arena_zero(trainer->arena, 1, sizeof(*plan));

	if (plan == NULL)
		return NULL;
	plan->layer = ds_arena_zero(trainer->arena, spec->layers, sizeof(LayerPlan));
	if (plan->layer == NULL)
		return NULL;
	plan->token = find_linear(trainer, t, "token");
	plan->position = find_linear(trainer, t, "position");
	plan->type = find_linear(trainer, t, "type");
	plan->embedding_norm = find_linear(trainer, t, "embedding.norm");
	plan->final_norm = find_linear(trainer, t, "final.norm");
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		char name[DS_SPEC_NAME];

		snprintf(name, sizeof(name), "module.%u", m);
		plan->module[m] = find_linear(trainer, t, name);
	}
	plan->embeddings_learn = learns(trainer, plan->token) || learns(trainer, plan->position) ||
							 learns(trainer, plan->type) || learns(trainer, plan->embedding_norm);
	plan->lowest = spec->layers;
	for (uint32_t l = spec->layers; l-- > 0;)
	{
		plan_layer(trainer, t, l, &plan->layer[l]);
		if (plan->layer[l].learns)
			plan->lowest = l;
	}
	if (plan->embeddings_learn)
		plan->lowest = 0;
	return plan;
}

/*
 * Memory
 */

static size_t
rounded(size_t n)
{
	return (n + 15) / 16 * 16;
}

/* The next n numbers of a piece of memory */
static ds_real *
next_part(ds_real **at, size_t n)
{
	ds_real *part = *at;

	*at += rounded(n);
	return part;
}

static size_t
module_numbers(const DsEncoderSpec *spec, size_t texts)
{
	size_t numbers = rounded(texts * ds_spec_pooled_dims(spec));

	for (uint32_t m = 0; m < spec->module_count; m++)
		numbers += rounded(texts * spec->modules[m].out) + rounded(texts * spec->modules[m].in) +
				   rounded(texts * (spec->modules[m].out + (size_t) 2));
	return numbers;
}

static void
place_modules(TransformerPass *tp, const DsEncoderSpec *spec, size_t texts, ds_real *at)
{
	tp->module[0] = next_part(&at, texts * ds_spec_pooled_dims(spec));
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		tp->d_module[m] = next_part(&at, texts * spec->modules[m].in);
		tp->module[m + 1] = next_part(&at, texts * spec->modules[m].out);
		tp->module_extra[m] = next_part(&at, texts * (spec->modules[m].out + (size_t) 2));
	}
}

static bool
reserve_transformer(DsTrainer *trainer, TransformerPass *tp, size_t t, const TowerInput *input)
{
	const DsEncoderSpec *spec = &trainer->head->net.tower[t].spec;
	DsArena *arena = trainer->arena;
	size_t rows = input->offsets[input->texts];
	size_t h = spec->hidden;
	size_t a = attention_width(spec);
	size_t wide = 3 * a > spec->intermediate ? 3 * a : spec->intermediate;
	size_t per_layer = 5 * rounded(rows * h) + rounded(rows * 3 * a) + rounded(rows * a) +
					   rounded(rows * spec->intermediate) + 2 * rounded(rows * 2);
	size_t others = 3 * rounded(rows * h) + 2 * rounded(rows * 2);
	bool keeps = trainer->trains[t] && tp->trains;
	size_t longest = 1;
	size_t widest = wide > h ? wide : h;
	ds_real *at;
	ds_real *modules;
	ds_real *scratch;

	for (size_t text = 0; text < input->texts; text++)
		if (input->offsets[text + 1] - input->offsets[text] > longest)
			longest = input->offsets[text + 1] - input->offsets[text];
	if (!ds_training_reserve(arena, &tp->room[0], per_layer, keeps ? spec->layers : 1,
							 sizeof(ds_real), &scratch) ||
		!ds_training_reserve(arena, &tp->room[1], others, 1, sizeof(ds_real), &at) ||
		!ds_training_reserve(arena, &tp->room[2], module_numbers(spec, input->texts), 1,
							 sizeof(ds_real), &modules))
		return false;
	tp->rows = rows;
	for (uint32_t l = 0; l < spec->layers; l++)
	{
		LayerMemory *m = &tp->layer[l];
		ds_real *from = scratch + (keeps ? l * per_layer : 0);

		m->x = next_part(&from, rows * h);
		m->in = next_part(&from, rows * h);
		m->middle = next_part(&from, rows * h);
		m->up_in = next_part(&from, rows * h);
		m->end = next_part(&from, rows * h);
		m->qkv = next_part(&from, rows * 3 * a);
		m->mix = next_part(&from, rows * a);
		m->up = next_part(&from, rows * spec->intermediate);
		m->moments[0] = next_part(&from, rows * 2);
		m->moments[1] = next_part(&from, rows * 2);
		if (!spec->norm_first)
			m->in = m->x;
	}
	tp->embedded = next_part(&at, rows * h);
	tp->last = next_part(&at, rows * h);
	tp->final = next_part(&at, rows * h);
	tp->embedded_moments = next_part(&at, rows * 2);
	tp->last_moments = next_part(&at, rows * 2);
	place_modules(tp, spec, input->texts, modules);
	for (uint32_t m = 0; m < spec->module_count; m++)
		widest = spec->modules[m].out > widest ? spec->modules[m].out : widest;
	if (!ds_training_reserve(arena, &tp->room[3],
							 DS_PRODUCT_SCRATCH + widest * DS_PRODUCT_WIDTH +
								 3 * rounded(longest * longest),
							 1, sizeof(ds_real), &at))
		return false;
	tp->product = next_part(&at, DS_PRODUCT_SCRATCH);
	tp->panel = next_part(&at, widest * DS_PRODUCT_WIDTH);
	tp->weights = next_part(&at, longest * longest);
	tp->dropped = next_part(&at, longest * longest);
	tp->d_weights = next_part(&at, longest * longest);
	if (!ds_training_reserve(arena, &tp->room[4], 2 * rounded(rows * h) + 2 * rounded(rows * wide),
							 1, sizeof(ds_real), &at))
		return false;
	tp->wide = next_part(&at, rows * wide);
	tp->d_wide = next_part(&at, rows * wide);
	tp->d_one = next_part(&at, rows * h);
	tp->d_two = next_part(&at, rows * h);
	return true;
}

/*
 * Parts of a layer
 */

void
ds_drop(const TransformerPass *pass, uint64_t stream, double rate, ds_real *x, size_t n)
{
	DsRandom random;
	/* the nearest of 65536 rates */
	uint32_t threshold = (uint32_t) (rate * 65536 + 0.5);
	ds_real keep = (ds_real) (65536.0 / (65536.0 - threshold));

	if (!pass->trains || threshold == 0)
		return;
	ds_random_init(&random, pass->key, stream);
	for (size_t i = 0; i < n; i += 4)
	{
		uint64_t bits = ds_random_next(&random);
		size_t m = n - i < 4 ? n - i : 4;

		for (size_t k = 0; k < m; k++, bits >>= 16)
			x[i + k] = (bits & 65535) < threshold ? 0 : x[i + k] * keep;
	}
}

DsCode
ds_product_run(const DsTrainer *trainer, const DsMatrixProduct *product)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	size_t most = PRODUCT_WORK / (product->n * product->k + 1) + 1;
	size_t pieces = (product->m + most - 1) / most;
	/* equal pieces: each packs b anew */
	size_t step = pieces > 1 ? (product->m / pieces + 8) / 8 * 8 : product->m + 1;

	for (size_t row = 0; row < product->m; row += step)
	{
		DsMatrixProduct some = *product;

		if (row > 0 && ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		some.m = product->m - row < step ? product->m - row : step;
		some.a += row * product->a_row;
		some.c += row * product->ldc;
		kernels->product(&some);
	}
	return ds_cancelled(trainer->cancel) ? DS_CANCELLED : DS_OK;
}

/* out[rows, outs] = x W^T + b, rows of out ldo apart */
static DsCode
linear(const DsTrainer *trainer, const TransformerPass *tp, LinearPlan plan, size_t rows,
	   size_t ins, size_t outs, const ds_real *x, ds_real *out, size_t ldo)
{
	DsMatrixProduct product = {.m = rows,
							   .n = outs,
							   .k = ins,
							   .a = x,
							   .a_row = ins,
							   .a_column = 1,
							   .b = plan_value(trainer, plan.weight),
							   .b_row = 1,
							   .b_column = ins,
							   .c = out,
							   .ldc = ldo,
							   .bias = plan_value(trainer, plan.bias),
							   .scratch = tp->product};

	return ds_product_run(trainer, &product);
}

static void
norm_rows(const DsTrainer *trainer, LinearPlan plan, const ds_real *x, size_t rows, size_t n,
		  double epsilon, ds_real *out, ds_real *moments)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	const ds_real *weight = plan_value(trainer, plan.weight);
	const ds_real *bias = plan_value(trainer, plan.bias);

	for (size_t r = 0; r < rows; r++)
		kernels->norm(x + r * n, n, weight, bias, (ds_real) epsilon, out + r * n, moments + 2 * r,
					  moments + 2 * r + 1);
}

static void
embed(const DsTrainer *trainer, TransformerPass *tp, const DsTower *tower, const TowerInput *input,
	  ds_real *out)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const DsEncoderSpec *spec = &tower->spec;
	const TransformerPlan *plan = tp->plan;
	size_t h = spec->hidden;
	ds_real *x = spec->embedding_norm ? tp->embedded : out;

	for (size_t text = 0; text < input->texts; text++)
		for (size_t i = input->offsets[text]; i < input->offsets[text + 1]; i++)
		{
			size_t position = spec->position_offset + (i - input->offsets[text]);
			ds_real *row = x + i * h;

			memcpy(row, plan_value(trainer, plan->token.weight) + input->ids[i] * h,
				   h * sizeof(ds_real));
			if (spec->positions > 0)
				kernels->add(row, plan_value(trainer, plan->position.weight) + position * h, h);
			if (spec->types > 0)
				kernels->add(row, plan_value(trainer, plan->type.weight) + input->types[i] * h, h);
		}
	if (spec->embedding_norm)
		norm_rows(trainer, plan->embedding_norm, x, tp->rows, h, (double) spec->norm_epsilon, out,
				  tp->embedded_moments);
	ds_drop(tp, DROP_EMBEDDINGS, tower->dropout, out, tp->rows * h);
}

void
ds_attention_weights(const DsTrainer *trainer, const TransformerPass *tp, const DsEncoderSpec *spec,
					 const ds_real *qkv, size_t n, size_t head, ds_real *weights)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	size_t a = attention_width(spec);
	size_t dims = spec->head_dims;
	DsMatrixProduct product = {.m = n,
							   .n = n,
							   .k = dims,
							   .a = qkv + head * dims,
							   .a_row = 3 * a,
							   .a_column = 1,
							   .b = qkv + a + head * dims,
							   .b_row = 1,
							   .b_column = 3 * a,
							   .c = weights,
							   .ldc = n,
							   .scratch = tp->product};

	(void) trainer;
	kernels->product(&product);
	for (size_t i = 0; i < n; i++)
		kernels->softmax(weights + i * n, n, (ds_real) (1 / sqrt((double) dims)));
}

static DsCode
attend(const DsTrainer *trainer, TransformerPass *tp, const DsTower *tower, uint32_t layer,
	   const TowerInput *input)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	const DsEncoderSpec *spec = &tower->spec;
	LayerMemory *m = &tp->layer[layer];
	size_t a = attention_width(spec);
	size_t dims = spec->head_dims;

	for (size_t text = 0; text < input->texts; text++)
	{
		size_t n = input->offsets[text + 1] - input->offsets[text];
		const ds_real *qkv = m->qkv + input->offsets[text] * 3 * a;

		if (ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		for (size_t head = 0; head < spec->heads && n > 0; head++)
		{
			DsMatrixProduct product = {.m = n,
									   .n = dims,
									   .k = n,
									   .a = tp->weights,
									   .a_row = n,
									   .a_column = 1,
									   .b = qkv + 2 * a + head * dims,
									   .b_row = 3 * a,
									   .b_column = 1,
									   .c = m->mix + input->offsets[text] * a + head * dims,
									   .ldc = a,
									   .scratch = tp->product};

			ds_attention_weights(trainer, tp, spec, qkv, n, head, tp->weights);
			ds_drop(tp, ds_weights_stream(layer, text, head), tower->attention_dropout, tp->weights,
					n * n);
			kernels->product(&product);
		}
	}
	return DS_OK;
}

/* x += y */
static void
add_all(ds_real *x, const ds_real *y, size_t n)
{
	ds_nn_kernels()->add(x, y, n);
}

static DsCode
run_layer(const DsTrainer *trainer, TransformerPass *tp, const DsTower *tower, uint32_t number,
		  const TowerInput *input, ds_real *next)
{
	const DsEncoderSpec *spec = &tower->spec;
	const LayerPlan *plan = &tp->plan->layer[number];
	LayerMemory *m = &tp->layer[number];
	size_t rows = tp->rows;
	size_t h = spec->hidden;
	size_t a = attention_width(spec);
	double epsilon = (double) spec->norm_epsilon;

	if (spec->norm_first && plan->attention_norm.weight != DS_NO_PARAMETER)
		norm_rows(trainer, plan->attention_norm, m->x, rows, h, epsilon, m->in, m->moments[0]);
	else if (spec->norm_first)
		memcpy(m->in, m->x, rows * h * sizeof(ds_real));
	if (spec->qkv_fused)
		TRY(linear(trainer, tp, plan->qkv[0], rows, h, 3 * a, m->in, m->qkv, 3 * a));
	else
		for (size_t i = 0; i < 3; i++)
			TRY(linear(trainer, tp, plan->qkv[i], rows, h, a, m->in, m->qkv + i * a, 3 * a));
	TRY(attend(trainer, tp, tower, number, input));
	TRY(linear(trainer, tp, plan->out, rows, a, h, m->mix, m->middle, h));
	ds_drop(tp, ds_layer_stream(number, DROP_ATTENTION), tower->dropout, m->middle, rows * h);
	add_all(m->middle, m->x, rows * h);
	norm_rows(trainer, spec->norm_first ? plan->mlp_norm : plan->attention_norm, m->middle, rows, h,
			  epsilon, m->up_in, spec->norm_first ? m->moments[1] : m->moments[0]);
	TRY(linear(trainer, tp, plan->up, rows, h, spec->intermediate, m->up_in, m->up,
			   spec->intermediate));
	ds_tower_kernels()->act(m->up, rows * spec->intermediate, spec->activation, tp->wide);
	TRY(linear(trainer, tp, plan->down, rows, spec->intermediate, h, tp->wide, m->end, h));
	ds_drop(tp, ds_layer_stream(number, DROP_MLP), tower->dropout, m->end, rows * h);
	add_all(m->end, spec->norm_first ? m->middle : m->up_in, rows * h);
	if (spec->norm_first)
		memcpy(next, m->end, rows * h * sizeof(ds_real));
	else
		norm_rows(trainer, plan->mlp_norm, m->end, rows, h, epsilon, next, m->moments[1]);
	return DS_OK;
}

static void
pool(const TransformerPass *tp, const DsEncoderSpec *spec, const TowerInput *input)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	size_t h = spec->hidden;

	for (size_t text = 0; text < input->texts; text++)
	{
		size_t n = input->offsets[text + 1] - input->offsets[text];
		const ds_real *rows = tp->final + input->offsets[text] * h;
		ds_real *out = tp->module[0] + text * h;

		memset(out, 0, h * sizeof(ds_real));
		if (n == 0)
			continue;
		if (spec->pooling == DS_POOL_CLS)
		{
			memcpy(out, rows, h * sizeof(ds_real));
			continue;
		}
		for (size_t i = 0; i < n; i++)
			kernels->add(out, rows + i * h, h);
		kernels->scale(out, h, (ds_real) (1.0 / (double) n));
	}
}

static DsCode
run_modules(const DsTrainer *trainer, TransformerPass *tp, const DsEncoderSpec *spec, size_t texts)
{
	for (uint32_t i = 0; i < spec->module_count; i++)
	{
		const DsSpecModule *module = &spec->modules[i];
		const ds_real *in = tp->module[i];
		ds_real *out = tp->module[i + 1];
		ds_real *extra = tp->module_extra[i];

		switch (module->kind)
		{
			case DS_MODULE_DENSE:
				TRY(linear(trainer, tp, tp->plan->module[i], texts, module->in, module->out, in,
						   extra, module->out));
				ds_tower_kernels()->act(extra, texts * module->out, module->activation, out);
				break;
			case DS_MODULE_NORM:
				norm_rows(trainer, tp->plan->module[i], in, texts, module->in,
						  (double) module->epsilon, out, extra);
				break;
			case DS_MODULE_NORMALIZE:
				ds_normalize_forward(in, texts, module->in, out, extra);
				break;
			default: /* DS_MODULE_SLICE */
				for (size_t text = 0; text < texts; text++)
					memcpy(out + text * module->out, in + text * module->in,
						   module->out * sizeof(ds_real));
				break;
		}
	}
	return DS_OK;
}

DsCode
ds_transformer_forward(DsTrainer *trainer, TowerPass *pass, size_t t, uint64_t key, bool trains,
					   DsStatus *status)
{
	const DsTower *tower = &trainer->head->net.tower[t];
	const DsEncoderSpec *spec = &tower->spec;
	const TowerInput *input = &pass->input;
	TransformerPass *tp = pass->transformer;
	DsCode code = DS_OK;
	ds_real *last;

	if (tp == NULL)
	{
		tp = pass->transformer = ds_arena_zero(trainer->arena, 1, sizeof(*tp));
		if (tp != NULL)
		{
			tp->layer =
				ds_arena_zero(trainer->arena, spec->layers + (size_t) 1, sizeof(LayerMemory));
			tp->plan = make_plan(trainer, t);
		}
		if (tp == NULL || tp->layer == NULL || tp->plan == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	}
	tp->key = key;
	tp->trains = trains;
	if (!reserve_transformer(trainer, tp, t, input))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu tokens",
					   input->offsets[input->texts]);
	last = spec->final_norm ? tp->last : tp->final;
	embed(trainer, tp, tower, input, spec->layers > 0 ? tp->layer[0].x : last);
	for (uint32_t l = 0; l < spec->layers && code == DS_OK; l++)
		code = run_layer(trainer, tp, tower, l, input,
						 l + 1 < spec->layers ? tp->layer[l + 1].x : last);
	if (code == DS_OK)
	{
		if (spec->final_norm)
			norm_rows(trainer, tp->plan->final_norm, tp->last, tp->rows, spec->hidden,
					  (double) spec->norm_epsilon, tp->final, tp->last_moments);
		pool(tp, spec, input);
		code = run_modules(trainer, tp, spec, input->texts);
	}
	if (code == DS_CANCELLED)
		return ds_fail(status, DS_CANCELLED, "cancelled");
	if (code == DS_OK)
		memcpy(pass->out, tp->module[spec->module_count],
			   input->texts * trainer->head->dims * sizeof(ds_real));
	return code;
}
