/*
 * transformer_backward.c
 *		Transformer towers, backward.
 *
 * The chain rule through transformer.c, last line first; of a linear layer y = x W^T
 * + b:  dx = dy W,  dW += dy^T x,  db += sum over rows of dy.  Attention's weights p
 * are made again, head by head, and with w = p after dropout, o = w v:
 *
 *     dv = w^T do,  dw = do v^T,  ds = scale p (dp - <p, dp>),  dq = ds k,  dk = ds^T q
 *
 * where ds is 0 behind a causal mask, as p is.
 *
 * The way ends at the lowest layer that learns anything.
 */
#include "nn/transformer.h"

#include <math.h>
#include <string.h>

#include "nn/simd.h"

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* What a shard's way back has at hand */
typedef struct Back
{
	DsTrainer *trainer;
	TransformerPass *tp;
	const DsEncoderSpec *spec;
	const TowerInput *input;
	size_t t;
	int shard;
	bool add; /* gradients of weights to what is there */
} Back;

static ds_real *
gradient_of(const Back *back, size_t number)
{
	return number != DS_NO_PARAMETER ? shard_gradient(back->trainer, back->shard, number) : NULL;
}

/*
 * out = x W^T + b; rows of x and dx are ins numbers, of d ldd apart.  dx may be NULL,
 * or is added to.
 */
static DsCode
linear_backward(const Back *back, LinearPlan plan, size_t rows, size_t ins, size_t outs,
				const ds_real *x, const ds_real *d, size_t ldd, ds_real *dx, bool add)
{
	ds_real *d_weight = gradient_of(back, plan.weight);
	ds_real *d_bias = gradient_of(back, plan.bias);

	if (d_weight != NULL)
	{
		DsMatrixProduct product = {.m = outs,
								   .n = ins,
								   .k = rows,
								   .a = d,
								   .a_row = 1,
								   .a_column = ldd,
								   .b = x,
								   .b_row = ins,
								   .b_column = 1,
								   .c = d_weight,
								   .ldc = ins,
								   .add = back->add,
								   .scratch = back->tp->product,
								   .panel = back->tp->panel};

		TRY(ds_product_run(back->trainer, &product));
	}
	for (size_t r = 0; d_bias != NULL && r < rows; r++)
		ds_nn_kernels()->add(d_bias, d + r * ldd, outs);
	if (dx != NULL)
	{
		DsMatrixProduct product = {.m = rows,
								   .n = ins,
								   .k = outs,
								   .a = d,
								   .a_row = ldd,
								   .a_column = 1,
								   .b = plan_value(back->trainer, plan.weight),
								   .b_row = ins,
								   .b_column = 1,
								   .c = dx,
								   .ldc = ins,
								   .add = add,
								   .scratch = back->tp->product};

		TRY(ds_product_run(back->trainer, &product));
	}
	return DS_OK;
}

/* d, the gradient by a norm's output, becomes that by its input; to dx, which may be d */
static void
norm_backward_rows(const Back *back, LinearPlan plan, const ds_real *x, size_t rows, size_t n,
				   const ds_real *moments, const ds_real *d, ds_real *dx)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	const ds_real *weight = plan_value(back->trainer, plan.weight);
	ds_real *d_weight = gradient_of(back, plan.weight);
	ds_real *d_bias = gradient_of(back, plan.bias);

	for (size_t r = 0; r < rows; r++)
		kernels->norm_backward(x + r * n, n, weight, moments[2 * r], moments[2 * r + 1], d + r * n,
							   dx + r * n, d_weight, d_bias);
}

/* One head of one sequence: from d_mix to d_qkv */
static void
head_backward(const Back *back, const ds_real *qkv, const ds_real *d_mix, size_t n, size_t head,
			  uint64_t stream, ds_real *d_qkv)
{
	const DsTowerKernels *kernels = ds_tower_kernels();
	const TransformerPass *tp = back->tp;
	size_t a = attention_width(back->spec);
	size_t dims = back->spec->head_dims;
	double rate = tp->tower->attention_dropout;
	const ds_real *weights = tp->weights;
	const ds_real *d_out = d_mix + head * dims;
	ds_real scale = (ds_real) (1 / sqrt((double) dims));
	DsMatrixProduct product = {.m = n, .n = dims, .k = n, .scratch = tp->product};

	ds_attention_weights(tp, qkv, n, head, tp->weights);
	if (tp->trains && rate > 0)
	{
		memcpy(tp->dropped, tp->weights, n * n * sizeof(ds_real));
		ds_drop(tp, stream, rate, tp->dropped, n * n);
		weights = tp->dropped;
	}
	/* dv = w^T do */
	product.a = weights;
	product.a_row = 1;
	product.a_column = n;
	product.b = d_out;
	product.b_row = a;
	product.b_column = 1;
	product.c = d_qkv + 2 * a + head * dims;
	product.ldc = 3 * a;
	kernels->product(&product);
	/* dw = do v^T */
	product.n = n;
	product.k = dims;
	product.a = d_out;
	product.a_row = a;
	product.a_column = 1;
	product.b = qkv + 2 * a + head * dims;
	product.b_row = 1;
	product.b_column = 3 * a;
	product.c = tp->d_weights;
	product.ldc = n;
	kernels->product(&product);
	ds_drop(tp, stream, rate, tp->d_weights, n * n);
	for (size_t i = 0; i < n; i++)
	{
		size_t seen = seen_rows(back->spec, i, n);

		kernels->softmax_backward(tp->weights + i * n, seen, scale, tp->d_weights + i * n);
		memset(tp->d_weights + i * n + seen, 0, (n - seen) * sizeof(ds_real));
	}
	/* dq = ds k */
	product.n = dims;
	product.k = n;
	product.a = tp->d_weights;
	product.a_row = n;
	product.b = qkv + a + head * dims;
	product.b_row = 3 * a;
	product.b_column = 1;
	product.c = d_qkv + head * dims;
	product.ldc = 3 * a;
	kernels->product(&product);
	/* dk = ds^T q */
	product.a_row = 1;
	product.a_column = n;
	product.b = qkv + head * dims;
	product.c = d_qkv + a + head * dims;
	kernels->product(&product);
}

static DsCode
attention_backward(const Back *back, uint32_t layer, const ds_real *d_mix, ds_real *d_qkv)
{
	const TransformerPass *tp = back->tp;
	const LayerMemory *m = &tp->layer[layer];
	size_t a = attention_width(back->spec);

	for (size_t i = 0; i < tp->sequences; i++)
	{
		size_t first = tp->starts[i];
		size_t n = tp->starts[i + 1] - first;

		if (ds_cancelled(back->trainer->cancel))
			return DS_CANCELLED;
		for (size_t head = 0; head < back->spec->heads && n > 0; head++)
			head_backward(back, m->qkv + first * 3 * a, d_mix + first * a, n, head,
						  ds_weights_stream(layer, i, head), d_qkv + first * 3 * a);
	}
	return DS_OK;
}

/*
 * One layer: d[rows, h] is the gradient by what it gave, and becomes that by what
 * came in, unless nothing below learns.
 */
static DsCode
layer_backward(const Back *back, uint32_t number, ds_real *d, ds_real *other, bool below)
{
	const DsTrainer *trainer = back->trainer;
	TransformerPass *tp = back->tp;
	const DsEncoderSpec *spec = back->spec;
	const LayerPlan *plan = &tp->plan->layer[number];
	const LayerMemory *m = &tp->layer[number];
	double dropout = tp->tower->dropout;
	size_t rows = tp->rows;
	size_t h = spec->hidden;
	size_t a = attention_width(spec);
	size_t all = rows * h;
	ds_real *d_up = tp->d_wide;
	bool first_norm = plan->attention_norm.weight != DS_NO_PARAMETER;

	/* end, and what joined there: d stays with the residual, other goes through the MLP */
	if (!spec->norm_first)
		norm_backward_rows(back, plan->mlp_norm, m->end, rows, h, m->moments[1], d, d);
	memcpy(other, d, all * sizeof(ds_real));
	ds_drop(tp, ds_layer_stream(number, DROP_MLP), dropout, other, all);
	/* the way through act(up) first: W2's gradient needs act(up), which comes with the derivative */
	{
		DsMatrixProduct product = {.m = rows,
								   .n = spec->intermediate,
								   .k = h,
								   .a = other,
								   .a_row = h,
								   .a_column = 1,
								   .b = plan_value(trainer, plan->down.weight),
								   .b_row = spec->intermediate,
								   .b_column = 1,
								   .c = d_up,
								   .ldc = spec->intermediate,
								   .scratch = tp->product};

		TRY(ds_product_run(trainer, &product));
	}
	ds_tower_kernels()->act_backward(m->up, rows * spec->intermediate, spec->activation, d_up,
									 tp->wide);
	TRY(linear_backward(back, plan->down, rows, spec->intermediate, h, tp->wide, other, h, NULL,
						false));
	if (!spec->norm_first)
	{
		/* up_in is the residual too */
		TRY(linear_backward(back, plan->up, rows, h, spec->intermediate, m->up_in, d_up,
							spec->intermediate, d, true));
		norm_backward_rows(back, plan->attention_norm, m->middle, rows, h, m->moments[0], d, d);
	}
	else
	{
		TRY(linear_backward(back, plan->up, rows, h, spec->intermediate, m->up_in, d_up,
							spec->intermediate, other, false));
		norm_backward_rows(back, plan->mlp_norm, m->middle, rows, h, m->moments[1], other, other);
		ds_nn_kernels()->add(d, other, all);
	}
	/* middle = x + drop(mix Wo + bo) */
	memcpy(other, d, all * sizeof(ds_real));
	ds_drop(tp, ds_layer_stream(number, DROP_ATTENTION), dropout, other, all);
	TRY(linear_backward(back, plan->out, rows, a, h, m->mix, other, h, tp->wide, false));
	TRY(attention_backward(back, number, tp->wide, tp->d_wide));
	/* then to in; norms before it take a place of their own */
	{
		ds_real *to = !below && !(spec->norm_first && first_norm) ? NULL
					  : spec->norm_first && first_norm			  ? other
																  : d;
		bool add = to == d;

		if (spec->qkv_fused)
			TRY(linear_backward(back, plan->qkv[0], rows, h, 3 * a, m->in, tp->d_wide, 3 * a, to,
								add));
		for (size_t i = 0; i < 3 && !spec->qkv_fused; i++)
			TRY(linear_backward(back, plan->qkv[i], rows, h, a, m->in, tp->d_wide + i * a, 3 * a,
								to, add || i > 0));
	}
	if (spec->norm_first && first_norm)
	{
		norm_backward_rows(back, plan->attention_norm, m->x, rows, h, m->moments[0], other, other);
		ds_nn_kernels()->add(d, other, all);
	}
	return DS_OK;
}

static void
pool_backward(const Back *back, const ds_real *d, ds_real *d_rows)
{
	const TransformerPass *tp = back->tp;
	size_t h = back->spec->hidden;

	memset(d_rows, 0, tp->rows * h * sizeof(ds_real));
	for (size_t i = 0; i < tp->sequences; i++)
	{
		RowRange rows = pooled_rows(tp, back->input, i);
		ds_real share = (ds_real) (1.0 / (double) (rows.end - rows.begin));

		for (size_t r = rows.begin; r < rows.end; r++)
			for (size_t c = 0; c < h; c++)
				d_rows[r * h + c] = share * d[i * h + c];
	}
}

/* d[sequences, dims] goes through the modules; *result is where the gradient by the pooled vectors is */
static DsCode
modules_backward(const Back *back, ds_real *d, ds_real **result)
{
	TransformerPass *tp = back->tp;
	size_t n = tp->sequences;

	for (uint32_t i = back->spec->module_count; i-- > 0;)
	{
		const DsSpecModule *module = &back->spec->modules[i];
		LinearPlan plan = tp->plan->module[i];
		const ds_real *in = tp->module[i];
		ds_real *extra = tp->module_extra[i];
		ds_real *d_in = tp->d_module[i];

		switch (module->kind)
		{
			case DS_MODULE_DENSE:
				ds_tower_kernels()->act_backward(extra, n * module->out, module->activation, d,
												 extra);
				TRY(linear_backward(back, plan, n, module->in, module->out, in, d, module->out,
									d_in, false));
				break;
			case DS_MODULE_NORM:
				norm_backward_rows(back, plan, in, n, module->in, extra, d, d_in);
				break;
			case DS_MODULE_NORMALIZE:
				ds_normalize_backward(tp->module[i + 1], extra, d, n, module->in, d_in);
				break;
			default: /* DS_MODULE_SLICE */
				memset(d_in, 0, n * module->in * sizeof(ds_real));
				for (size_t row = 0; row < n; row++)
					memcpy(d_in + row * module->in, d + row * module->out,
						   module->out * sizeof(ds_real));
				break;
		}
		d = d_in;
	}
	*result = d;
	return DS_OK;
}

/* From the gradient by tokens' first vectors to the rows of the table that the shard has */
static void
tokens_backward(const Back *back, const ds_real *d)
{
	const DsTrainer *trainer = back->trainer;
	const TowerInput *input = back->input;
	const uint32_t *places = trainer->places[back->t];
	size_t h = back->spec->hidden;
	ds_real *rows = block_reals(trainer, trainer->head->d_rows[back->shard][back->t]);
	ds_real *types = gradient_of(back, back->tp->plan->type.weight);

	for (size_t i = 0; i < back->tp->rows; i++)
	{
		if (places != NULL)
			ds_nn_kernels()->add(rows + places[input->ids[i]] * h, d + i * h, h);
		if (types != NULL)
			ds_nn_kernels()->add(types + input->types[i] * h, d + i * h, h);
	}
}

/* ... and by patches' and class tokens'; d becomes anything */
static DsCode
patches_backward(const Back *back, ds_real *d)
{
	const TransformerPass *tp = back->tp;
	const DsEncoderSpec *spec = back->spec;
	size_t h = spec->hidden;
	size_t n = spec->max_tokens - spec->class_token;
	ds_real *class_token = gradient_of(back, tp->plan->class_token.weight);

	for (size_t i = 0; spec->class_token && i < tp->sequences; i++)
	{
		ds_real *rows = d + tp->starts[i] * h;

		if (class_token != NULL)
			ds_nn_kernels()->add(class_token, rows, h);
		memmove(d + i * n * h, rows + h, n * h * sizeof(ds_real));
	}
	return linear_backward(back, tp->plan->patch, tp->sequences * n, spec->patch_dims, h,
						   back->input->features, d, h, NULL, false);
}

static DsCode
embedding_backward(const Back *back, ds_real *d)
{
	const TransformerPass *tp = back->tp;
	const DsEncoderSpec *spec = back->spec;
	size_t h = spec->hidden;
	ds_real *positions = gradient_of(back, tp->plan->position.weight);

	ds_drop(tp, DROP_EMBEDDINGS, tp->tower->dropout, d, tp->rows * h);
	if (spec->embedding_norm)
		norm_backward_rows(back, tp->plan->embedding_norm, tp->embedded, tp->rows, h,
						   tp->embedded_moments, d, d);
	for (size_t i = 0; positions != NULL && i < tp->sequences; i++)
		ds_nn_kernels()->add(positions + spec->position_offset * h, d + tp->starts[i] * h,
							 (tp->starts[i + 1] - tp->starts[i]) * h);
	if (spec->kind == DS_ENCODER_PATCHES)
		return patches_backward(back, d);
	tokens_backward(back, d);
	return DS_OK;
}

static DsCode
run_backward(const Back *back, ds_real *d)
{
	TransformerPass *tp = back->tp;
	const DsEncoderSpec *spec = back->spec;
	const TransformerPlan *plan = tp->plan;
	ds_real *pooled;

	TRY(modules_backward(back, d, &pooled));
	pool_backward(back, pooled, tp->d_one);
	if (spec->final_norm)
		norm_backward_rows(back, plan->final_norm, tp->last, tp->rows, spec->hidden,
						   tp->last_moments, tp->d_one, tp->d_one);
	for (uint32_t l = spec->layers; l-- > plan->lowest;)
		TRY(layer_backward(back, l, tp->d_one, tp->d_two,
						   l > plan->lowest || plan->embeddings_learn));
	return plan->embeddings_learn ? embedding_backward(back, tp->d_one) : DS_OK;
}

DsCode
ds_transformer_backward(DsTrainer *trainer, TowerPass *pass, size_t t, int shard, bool add,
						ds_real *d, DsStatus *status)
{
	Back back = {.trainer = trainer,
				 .tp = pass->transformer,
				 .spec = pass->transformer->spec,
				 .input = &pass->input,
				 .t = t,
				 .shard = shard,
				 .add = add};

	if (run_backward(&back, d) != DS_OK)
		return ds_fail(status, DS_CANCELLED, "cancelled");
	return DS_OK;
}
