/*
 * encoder_modules.c
 *		What comes behind the pooling: dense layers, norms, length one.
 */
#include "nn/encoder_private.h"

#include <math.h>
#include <string.h>

/* multiplications between two looks at cancel: some milliseconds */
#define CANCEL_WORK ((size_t) 1 << 24)

static void
normalize(const DsEncoderKernels *kernels, float *x, size_t n)
{
	float norm = sqrtf(kernels->dot(x, x, n));

	/* the limit of PyTorch's normalize() */
	for (size_t i = 0; i < n; i++)
		x[i] /= norm > 1e-12f ? norm : 1e-12f;
}

/* out = act(linear v), in pieces of whole panels */
static DsCode
run_dense(const DsModules *modules, const DsLinear *linear, const float *v, float *out,
		  uint32_t activation, const DsCancel *cancel)
{
	size_t step = CANCEL_WORK / linear->ins / DS_PANEL * DS_PANEL + DS_PANEL;

	for (size_t first = 0; first < linear->outs; first += step)
	{
		DsProduct product = {.rows = 1,
							 .ins = linear->ins,
							 .outs = linear->outs - first < step ? linear->outs - first : step,
							 .a = v,
							 .b = (const float *) linear->panels + first * linear->ins,
							 .c = out + first,
							 .bias = linear->bias != NULL ? linear->bias + first : NULL,
							 .activation = activation};

		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		modules->kernels->product_f32(&product);
	}
	return DS_OK;
}

size_t
ds_modules_widest(const DsModules *modules, size_t dims)
{
	for (uint32_t m = 0; m < modules->count; m++)
		dims = modules->specs[m].out > dims ? modules->specs[m].out : dims;
	return dims;
}

DsCode
ds_modules_run(const DsModules *modules, size_t dims, float *v, float *next, float *out,
			   const DsCancel *cancel)
{
	for (uint32_t m = 0; m < modules->count; m++)
	{
		const DsSpecModule *module = &modules->specs[m];
		float *swap = v;
		DsCode code;

		switch (module->kind)
		{
			case DS_MODULE_DENSE:
				code = run_dense(modules, &modules->linear[m], v, next, module->activation, cancel);
				if (code != DS_OK)
					return code;
				v = next;
				next = swap;
				break;
			case DS_MODULE_NORM:
				modules->kernels->norm(v, module->in, modules->norms[m].weight,
									   modules->norms[m].bias, module->epsilon, v);
				break;
			case DS_MODULE_NORMALIZE:
				normalize(modules->kernels, v, module->in);
				break;
			default: /* DS_MODULE_SLICE */
				break;
		}
		dims = module->out;
	}
	memcpy(out, v, dims * sizeof(float));
	return DS_OK;
}
