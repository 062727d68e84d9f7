/*
 * transformer.c
 *		Transformer towers of the shapes of BERT, CLIP and ViT, forward, for training.
 *
 * Tokens of texts and patches of pictures differ in how their first vectors are made
 * (embed()), and in nothing else.  The rows of all sequences of a pass are put behind
 * each other, and everything but attention works row by row, so padding is never
 * computed (as in encoder.c, whose results these are, to rounding).  With a causal mask
 * the scores of a whole sequence are computed and softmax takes those that a row sees.
 * What the way back needs stays in memory: with
 * h the hidden size and an MLP of 4 h, about 13 h numbers a row and layer.  The
 * weights of attention are not kept, but made again (a sequence of n rows would
 * need heads * n numbers a row), nor are the random numbers of dropout: a stream
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
 * Layers below the lowest one that learns share one memory: nothing goes back to them.
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
	bool fused = tower_transformer(&trainer->head->net.tower[t])->qkv_fused;

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
make_plan(DsTrainer *trainer, size_t t, const DsEncoderSpec *spec)
{
	TransformerPlan *plan = ds_arena_zero(trainer->arena, 1, sizeof(*plan));

	if (plan == NULL)
		return NULL;
	plan->layer = ds_arena_zero(trainer->arena, spec->layers, sizeof(LayerPlan));
	if (plan->layer == NULL)
		return NULL;
	plan->token = find_linear(trainer, t, "token");
	plan->patch = find_linear(trainer, t, "patch");
	plan->class_token = find_linear(trainer, t, "class");
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
	plan->embeddings_learn = learns(trainer, plan->token) || learns(trainer, plan->patch) ||
							 learns(trainer, plan->class_token) ||
							 learns(trainer, plan->position) || learns(trainer, plan->type) ||
							 learns(trainer, plan->embedding_norm);
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
module_numbers(const DsEncoderSpec *spec, size_t n)
{
	size_t numbers = rounded(n * ds_spec_pooled_dims(spec));

	for (uint32_t m = 0; m < spec->module_count; m++)
		numbers += rounded(n * spec->modules[m].out) + rounded(n * spec->modules[m].in) +
				   rounded(n * (spec->modules[m].out + (size_t) 2));
	return numbers;
}

static void
place_modules(TransformerPass *tp, ds_real *at)
{
	const DsEncoderSpec *spec = tp->spec;
	size_t n = tp->sequences;

	tp->module[0] = next_part(&at, n * ds_spec_pooled_dims(spec));
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		tp->d_module[m] = next_part(&at, n * spec->modules[m].in);
		tp->module[m + 1] = next_part(&at, n * spec->modules[m].out);
		tp->module_extra[m] = next_part(&at, n * (spec->modules[m].out + (size_t) 2));
	}
}

/* Where the sequences of a pass begin: as the texts do, or all as long as a picture's */
static bool
find_sequences(DsTrainer *trainer, TransformerPass *tp, const TowerInput *input)
{
	const DsEncoderSpec *spec = tp->spec;
	size_t *starts;

	tp->sequences = spec->kind == DS_ENCODER_PATCHES ? input->pictures : input->texts;
	tp->starts = input->offsets;
	if (spec->kind == DS_ENCODER_PATCHES)
	{
		if (!ds_training_reserve(trainer->arena, &tp->room[5], tp->sequences + 1, 1, sizeof(size_t),
								 &starts))
			return false;
		for (size_t i = 0; i <= tp->sequences; i++)
			starts[i] = i * spec->max_tokens;
		tp->starts = starts;
	}
	tp->rows = tp->starts[tp->sequences];
	return true;
}

static bool
reserve_transformer(DsTrainer *trainer, TransformerPass *tp, size_t t)
{
	const DsEncoderSpec *spec = tp->spec;
	DsArena *arena = trainer->arena;
	size_t rows = tp->rows;
	size_t h = spec->hidden;
	size_t a = attention_width(spec);
	size_t wide = 3 * a > spec->intermediate ? 3 * a : spec->intermediate;
	size_t per_layer = 5 * rounded(rows * h) + rounded(rows * 3 * a) + rounded(rows * a) +
					   rounded(rows * spec->intermediate) + 2 * rounded(rows * 2);
	size_t others = 3 * rounded(rows * h) + 2 * rounded(rows * 2);
	/* layers that share a memory, and memories in all */
	size_t shared = trainer->trains[t] && tp->trains ? tp->plan->lowest : spec->layers;
	size_t memories = spec->layers - shared + (shared > 0);
	size_t longest = 1;
	size_t widest = wide > h ? wide : h;
	ds_real *at;
	ds_real *modules;
	ds_real *scratch;

	for (size_t i = 0; i < tp->sequences; i++)
		if (tp->starts[i + 1] - tp->starts[i] > longest)
			longest = tp->starts[i + 1] - tp->starts[i];
	if (!ds_training_reserve(arena, &tp->room[0], per_layer, memories, sizeof(ds_real), &scratch) ||
		!ds_training_reserve(arena, &tp->room[1], others, 1, sizeof(ds_real), &at) ||
		!ds_training_reserve(arena, &tp->room[2], module_numbers(spec, tp->sequences), 1,
							 sizeof(ds_real), &modules))
		return false;
	for (uint32_t l = 0; l < spec->layers; l++)
	{
		LayerMemory *m = &tp->layer[l];
		ds_real *from = scratch + (l < shared ? 0 : l - shared + (shared > 0)) * per_layer;

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
	place_modules(tp, modules);
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

/* The first vectors of tokens */
static void
embed_tokens(const DsTrainer *trainer, const TransformerPass *tp, const TowerInput *input,
			 ds_real *x)
{
	size_t h = tp->spec->hidden;
	const ds_real *token = plan_value(trainer, tp->plan->token.weight);

	for (size_t i = 0; i < tp->rows; i++)
		memcpy(x + i * h, token + input->ids[i] * h, h * sizeof(ds_real));
}

/* ... and of patches, each picture's behind its class token */
static DsCode
embed_patches(const DsTrainer *trainer, const TransformerPass *tp, const TowerInput *input,
			  ds_real *x)
{
	const DsEncoderSpec *spec = tp->spec;
	size_t h = spec->hidden;
	size_t n = spec->max_tokens - spec->class_token;
	const ds_real *class_token = plan_value(trainer, tp->plan->class_token.weight);
	ds_real *patches = spec->class_token ? tp->d_two : x;

	TRY(linear(trainer, tp, tp->plan->patch, tp->sequences * n, spec->patch_dims, h,
			   input->features, patches, h));
	for (size_t i = 0; spec->class_token && i < tp->sequences; i++)
	{
		ds_real *rows = x + tp->starts[i] * h;

		memcpy(rows, class_token, h * sizeof(ds_real));
		memcpy(rows + h, patches + i * n * h, n * h * sizeof(ds_real));
	}
	return DS_OK;
}

static DsCode
embed(const DsTrainer *trainer, TransformerPass *tp, const TowerInput *input, ds_real *out)
{
	const DsEncoderSpec *spec = tp->spec;
	const TransformerPlan *plan = tp->plan;
	const ds_real *position = plan_value(trainer, plan->position.weight);
	const ds_real *type = plan_value(trainer, plan->type.weight);
	size_t h = spec->hidden;
	ds_real *x = spec->embedding_norm ? tp->embedded : out;

	if (spec->kind == DS_ENCODER_PATCHES)
		TRY(embed_patches(trainer, tp, input, x));
	else
		embed_tokens(trainer, tp, input, x);
	for (size_t i = 0; position != NULL && i < tp->sequences; i++)
		ds_nn_kernels()->add(x + tp->starts[i] * h, position + spec->position_offset * h,
							 (tp->starts[i + 1] - tp->starts[i]) * h);
	for (size_t i = 0; type != NULL && i < tp->rows; i++)
		ds_nn_kernels()->add(x + i * h, type + input->types[i] * h, h);
	if (spec->embedding_norm)
		norm_rows(trainer, plan->embedding_norm, x, tp->rows, h, (double) spec->norm_epsilon, out,
				  tp->embedded_moments);
	ds_drop(tp, DROP_EMBEDDINGS, tp->tower->dropout, out, tp->rows * h);
	return DS_OK;
}

void
ds_attention_weights(const TransformerPass *tp, const ds_real *qkv, size_t n, size_t head,
					 ds_real *weights)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	size_t a = attention_width(tp->spec);
	size_t dims = tp->spec->head_dims;
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

	kernels->product(&product);
	for (size_t i = 0; i < n; i++)
	{
		size_t seen = seen_rows(tp->spec, i, n);

		kernels->softmax(weights + i * n, seen, (ds_real) (1 / sqrt((double) dims)));
		memset(weights + i * n + seen, 0, (n - seen) * sizeof(ds_real));
	}
}

static DsCode
attend(const DsTrainer *trainer, TransformerPass *tp, uint32_t layer)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	const DsEncoderSpec *spec = tp->spec;
	LayerMemory *m = &tp->layer[layer];
	size_t a = attention_width(spec);
	size_t dims = spec->head_dims;

	for (size_t i = 0; i < tp->sequences; i++)
	{
		size_t n = tp->starts[i + 1] - tp->starts[i];
		const ds_real *qkv = m->qkv + tp->starts[i] * 3 * a;

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
									   .c = m->mix + tp->starts[i] * a + head * dims,
									   .ldc = a,
									   .scratch = tp->product};

			ds_attention_weights(tp, qkv, n, head, tp->weights);
			ds_drop(tp, ds_weights_stream(layer, i, head), tp->tower->attention_dropout,
					tp->weights, n * n);
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
run_layer(const DsTrainer *trainer, TransformerPass *tp, uint32_t number, ds_real *next)
{
	const DsEncoderSpec *spec = tp->spec;
	const LayerPlan *plan = &tp->plan->layer[number];
	LayerMemory *m = &tp->layer[number];
	size_t rows = tp->rows;
	size_t h = spec->hidden;
	size_t a = attention_width(spec);
	double epsilon = (double) spec->norm_epsilon;
	double dropout = tp->tower->dropout;

	if (spec->norm_first && plan->attention_norm.weight != DS_NO_PARAMETER)
		norm_rows(trainer, plan->attention_norm, m->x, rows, h, epsilon, m->in, m->moments[0]);
	else if (spec->norm_first)
		memcpy(m->in, m->x, rows * h * sizeof(ds_real));
	if (spec->qkv_fused)
		TRY(linear(trainer, tp, plan->qkv[0], rows, h, 3 * a, m->in, m->qkv, 3 * a));
	else
		for (size_t i = 0; i < 3; i++)
			TRY(linear(trainer, tp, plan->qkv[i], rows, h, a, m->in, m->qkv + i * a, 3 * a));
	TRY(attend(trainer, tp, number));
	TRY(linear(trainer, tp, plan->out, rows, a, h, m->mix, m->middle, h));
	ds_drop(tp, ds_layer_stream(number, DROP_ATTENTION), dropout, m->middle, rows * h);
	add_all(m->middle, m->x, rows * h);
	norm_rows(trainer, spec->norm_first ? plan->mlp_norm : plan->attention_norm, m->middle, rows, h,
			  epsilon, m->up_in, spec->norm_first ? m->moments[1] : m->moments[0]);
	TRY(linear(trainer, tp, plan->up, rows, h, spec->intermediate, m->up_in, m->up,
			   spec->intermediate));
	ds_tower_kernels()->act(m->up, rows * spec->intermediate, spec->activation, tp->wide);
	TRY(linear(trainer, tp, plan->down, rows, spec->intermediate, h, tp->wide, m->end, h));
	ds_drop(tp, ds_layer_stream(number, DROP_MLP), dropout, m->end, rows * h);
	add_all(m->end, spec->norm_first ? m->middle : m->up_in, rows * h);
	if (spec->norm_first)
		memcpy(next, m->end, rows * h * sizeof(ds_real));
	else
		norm_rows(trainer, plan->mlp_norm, m->end, rows, h, epsilon, next, m->moments[1]);
	return DS_OK;
}

static void
pool(const TransformerPass *tp, const TowerInput *input)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	size_t h = tp->spec->hidden;

	for (size_t i = 0; i < tp->sequences; i++)
	{
		RowRange rows = pooled_rows(tp, input, i);
		ds_real *out = tp->module[0] + i * h;

		memset(out, 0, h * sizeof(ds_real));
		for (size_t r = rows.begin; r < rows.end; r++)
			kernels->add(out, tp->final + r * h, h);
		if (rows.end - rows.begin > 1)
			kernels->scale(out, h, (ds_real) (1.0 / (double) (rows.end - rows.begin)));
	}
}

static DsCode
run_modules(const DsTrainer *trainer, TransformerPass *tp)
{
	const DsEncoderSpec *spec = tp->spec;
	size_t n = tp->sequences;

	for (uint32_t i = 0; i < spec->module_count; i++)
	{
		const DsSpecModule *module = &spec->modules[i];
		const ds_real *in = tp->module[i];
		ds_real *out = tp->module[i + 1];
		ds_real *extra = tp->module_extra[i];

		switch (module->kind)
		{
			case DS_MODULE_DENSE:
				TRY(linear(trainer, tp, tp->plan->module[i], n, module->in, module->out, in, extra,
						   module->out));
				ds_tower_kernels()->act(extra, n * module->out, module->activation, out);
				break;
			case DS_MODULE_NORM:
				norm_rows(trainer, tp->plan->module[i], in, n, module->in, (double) module->epsilon,
						  out, extra);
				break;
			case DS_MODULE_NORMALIZE:
				ds_normalize_forward(in, n, module->in, out, extra);
				break;
			default: /* DS_MODULE_SLICE */
				for (size_t row = 0; row < n; row++)
					memcpy(out + row * module->out, in + row * module->in,
						   module->out * sizeof(ds_real));
				break;
		}
	}
	return DS_OK;
}

static TransformerPass *
make_transformer(DsTrainer *trainer, size_t t)
{
	TransformerPass *tp = ds_arena_zero(trainer->arena, 1, sizeof(*tp));

	if (tp == NULL)
		return NULL;
	tp->tower = &trainer->head->net.tower[t];
	tp->spec = tower_transformer(tp->tower);
	tp->layer = ds_arena_zero(trainer->arena, tp->spec->layers, sizeof(LayerMemory));
	tp->plan = make_plan(trainer, t, tp->spec);
	return tp->layer != NULL && tp->plan != NULL ? tp : NULL;
}

static DsCode
run_forward(const DsTrainer *trainer, TransformerPass *tp, const TowerInput *input)
{
	const DsEncoderSpec *spec = tp->spec;
	ds_real *last = spec->final_norm ? tp->last : tp->final;

	TRY(embed(trainer, tp, input, tp->layer[0].x));
	for (uint32_t l = 0; l < spec->layers; l++)
		TRY(run_layer(trainer, tp, l, l + 1 < spec->layers ? tp->layer[l + 1].x : last));
	if (spec->final_norm)
		norm_rows(trainer, tp->plan->final_norm, tp->last, tp->rows, spec->hidden,
				  (double) spec->norm_epsilon, tp->final, tp->last_moments);
	pool(tp, input);
	return run_modules(trainer, tp);
}

DsCode
ds_transformer_forward(DsTrainer *trainer, TowerPass *pass, size_t t, uint64_t key, bool trains,
					   const ds_real **out, DsStatus *status)
{
	TransformerPass *tp = pass->transformer;

	if (tp == NULL)
		tp = pass->transformer = make_transformer(trainer, t);
	if (tp == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	tp->key = key;
	tp->trains = trains;
	if (!find_sequences(trainer, tp, &pass->input) || !reserve_transformer(trainer, tp, t))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu %s", tp->rows,
					   tp->spec->kind == DS_ENCODER_PATCHES ? "patches" : "tokens");
	if (run_forward(trainer, tp, &pass->input) != DS_OK)
		return ds_fail(status, DS_CANCELLED, "cancelled");
	*out = tp->module[tp->spec->module_count];
	return DS_OK;
}
