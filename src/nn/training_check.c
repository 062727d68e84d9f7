/*
 * training_check.c
 *		What can be trained, and how: checks of a network and of the settings.
 */
#include "nn/training.h"

#include <math.h>
#include <stdio.h>

#include "nn/training_private.h"

/* comparisons are written so that NaN fails them */
#define REFUSE_UNLESS(condition, ...)                        \
	do                                                       \
	{                                                        \
		if (!(condition))                                    \
			return ds_fail(status, DS_INVALID, __VA_ARGS__); \
	} while (0)

const DsTrainConfig ds_train_defaults = {
	.loss = DS_LOSS_SOFTMAX,
	.symmetric = false,
	.temperature = 0.05,
	.learn_temperature = false,
	.margin = 1,
	.teacher_temperature = 1,
	.feature_dropout = 0,
	.schedule = {.kind = DS_SCHEDULE_EXPONENTIAL,
				 .initial = 0.002,
				 .decay = 0.5,
				 .decay_steps = 1000,
				 .minimum = 1e-5},
	.optimizer = {.kind = DS_OPTIMIZER_ADAMW,
				  .beta1 = 0.9,
				  .beta2 = 0.999,
				  .epsilon = 1e-8,
				  .momentum = 0.9,
				  .weight_decay = 0},
	.exact_rows = false,
	.clip_norm = 1,
	.accumulate = 1,
	.layer_decay = 1,
	.seed = 1,
};

static DsCode
check_schedule(const DsSchedule *schedule, DsStatus *status)
{
	REFUSE_UNLESS((unsigned) schedule->kind <= DS_SCHEDULE_COSINE, "unknown schedule");
	REFUSE_UNLESS(schedule->initial > 0 && schedule->initial <= 10,
				  "learning_rate must be above 0 and at most 10, not %g", schedule->initial);
	REFUSE_UNLESS(schedule->minimum >= 0 && schedule->minimum <= schedule->initial,
				  "the minimum of the learning rate must be between 0 and its beginning (%g), "
				  "not %g",
				  schedule->initial, schedule->minimum);
	REFUSE_UNLESS(schedule->warmup_steps >= 0 && schedule->warmup_steps < HUGE_VAL,
				  "warmup_steps must not be negative, but is %g", schedule->warmup_steps);
	if (schedule->kind == DS_SCHEDULE_EXPONENTIAL)
	{
		REFUSE_UNLESS(schedule->decay > 0 && schedule->decay <= 1,
					  "decay must be above 0 and at most 1, not %g", schedule->decay);
		REFUSE_UNLESS(schedule->decay_steps > 0 && schedule->decay_steps < HUGE_VAL,
					  "decay_steps must be above 0, not %g", schedule->decay_steps);
	}
	if (schedule->kind == DS_SCHEDULE_LINEAR || schedule->kind == DS_SCHEDULE_COSINE)
		REFUSE_UNLESS(schedule->total_steps > schedule->warmup_steps &&
						  schedule->total_steps < HUGE_VAL,
					  "the number of steps must be above warmup_steps (%g), not %g",
					  schedule->warmup_steps, schedule->total_steps);
	return DS_OK;
}

static DsCode
check_optimizer(const DsOptimizer *optimizer, double rate, DsStatus *status)
{
	REFUSE_UNLESS((unsigned) optimizer->kind <= DS_OPTIMIZER_SGD, "unknown optimizer");
	REFUSE_UNLESS(optimizer->beta1 >= 0 && optimizer->beta1 < 1 && optimizer->beta2 >= 0 &&
					  optimizer->beta2 < 1,
				  "beta1 and beta2 must be at least 0 and below 1");
	REFUSE_UNLESS(optimizer->epsilon > 0 && optimizer->epsilon < 1,
				  "epsilon must be between 0 and 1, not %g", optimizer->epsilon);
	REFUSE_UNLESS(optimizer->momentum >= 0 && optimizer->momentum < 1,
				  "momentum must be at least 0 and below 1, not %g", optimizer->momentum);
	REFUSE_UNLESS(optimizer->weight_decay >= 0 && optimizer->weight_decay * rate < 1,
				  "weight_decay must not be negative, and below 1 / learning_rate, not %g",
				  optimizer->weight_decay);
	return DS_OK;
}

DsCode
ds_train_check(const DsTrainConfig *config, DsStatus *status)
{
	DsCode code;

	REFUSE_UNLESS((unsigned) config->loss < DS_LOSSES, "unknown loss");
	REFUSE_UNLESS(config->temperature >= TEMPERATURE_MIN && config->temperature <= TEMPERATURE_MAX,
				  "temperature must be between %g and %g, not %g", TEMPERATURE_MIN, TEMPERATURE_MAX,
				  config->temperature);
	REFUSE_UNLESS(config->teacher_temperature > 0 && config->teacher_temperature <= 1e6,
				  "teacher_temperature must be above 0, not %g", config->teacher_temperature);
	REFUSE_UNLESS(config->margin > 0 && config->margin <= 1e6, "margin must be above 0, not %g",
				  config->margin);
	REFUSE_UNLESS(config->feature_dropout >= 0 && config->feature_dropout < 1,
				  "feature_dropout must be at least 0 and below 1, not %g",
				  config->feature_dropout);
	code = check_schedule(&config->schedule, status);
	if (code == DS_OK)
		code = check_optimizer(&config->optimizer, config->schedule.initial, status);
	if (code != DS_OK)
		return code;
	REFUSE_UNLESS(config->clip_norm >= 0, "clip_norm must not be negative, but is %g",
				  config->clip_norm);
	REFUSE_UNLESS(config->accumulate >= 1 && config->accumulate <= 65536,
				  "accumulate must be between 1 and 65536, not %u", config->accumulate);
	REFUSE_UNLESS(config->layer_decay > 0 && config->layer_decay <= 1,
				  "layer_decay must be above 0 and at most 1, not %g", config->layer_decay);
	REFUSE_UNLESS(config->matryoshka_count <= DS_MATRYOSHKA_MAX,
				  "there can be %d lengths of Matryoshka vectors, not %u", DS_MATRYOSHKA_MAX,
				  config->matryoshka_count);
	for (uint32_t i = 0; i < config->matryoshka_count; i++)
		REFUSE_UNLESS(config->matryoshka[i] >= 1 && config->matryoshka_weight[i] >= 0 &&
						  config->matryoshka_weight[i] <= 1e6,
					  "a length of Matryoshka vectors or its weight is out of range");
	REFUSE_UNLESS(config->rule_count <= DS_RULES_MAX,
				  "there can be %d rules of learning rates, not %u", DS_RULES_MAX,
				  config->rule_count);
	for (uint32_t i = 0; i < config->rule_count; i++)
		REFUSE_UNLESS(config->rules[i].factor >= 0 && config->rules[i].factor <= 1e6,
					  "the factor of a learning rate must not be negative, but is %g",
					  config->rules[i].factor);
	return DS_OK;
}

/*
 * The network
 */

/* The transformer of a tower, over texts or over patches; its spec is a valid one */
static DsCode
check_transformer(const DsTower *tower, const DsEncoderSpec *spec, DsStatus *status)
{
	if (spec->gated || spec->rotary_dims > 0 || spec->relative_buckets > 0 || spec->window > 0)
		return ds_fail(status, DS_UNSUPPORTED,
					   "an encoder of the family \"%s\" cannot be trained: only those of the shape "
					   "of BERT, CLIP or ViT can",
					   spec->family);
	if (spec->pooling != DS_POOL_CLS && spec->pooling != DS_POOL_MEAN &&
		spec->pooling != DS_POOL_LAST && spec->pooling != DS_POOL_EOT)
		return ds_fail(status, DS_UNSUPPORTED,
					   "an encoder can be trained with the pooling cls, mean, last or eot only");
	REFUSE_UNLESS(tower->dropout >= 0 && tower->dropout < 1 && tower->attention_dropout >= 0 &&
					  tower->attention_dropout < 1,
				  "dropout must be at least 0 and below 1");
	return DS_OK;
}

static DsCode
check_texts(const DsTower *tower, DsStatus *status)
{
	DsCode code = ds_spec_check(&tower->spec, status);

	if (code != DS_OK)
		return code;
	REFUSE_UNLESS(tower->spec.kind != DS_ENCODER_PATCHES,
				  "an encoder of patches is for a tower over pictures");
	if (tower->spec.kind != DS_ENCODER_TRANSFORMER)
		return ds_fail(status, DS_UNSUPPORTED, "a static encoder cannot be trained");
	return check_transformer(tower, &tower->spec, status);
}

static DsCode
check_image(const DsTower *tower, DsStatus *status)
{
	const DsImageSpec *spec = &tower->image;
	DsCode code = ds_image_spec_check(spec, status);

	if (code != DS_OK)
		return code;
	if (spec->kind == DS_IMAGE_VIT)
		code = check_transformer(tower, &spec->transformer, status);
	if (code != DS_OK)
		return code;
	if (spec->channels > DS_PIXEL_CHANNELS)
		return ds_fail(status, DS_UNSUPPORTED, "pictures of %u channels cannot be trained on",
					   spec->channels);
	for (uint32_t l = 0; l < spec->layer_count; l++)
		if (spec->layers[l].kind == DS_LAYER_MAX_POOL &&
			spec->layers[l].kernel_height * spec->layers[l].kernel_width > 256)
			return ds_fail(status, DS_UNSUPPORTED, "the window of layer %u is too large to train",
						   l);
	for (uint32_t m = 0; m < spec->module_count; m++)
		if (spec->modules[m].kind != DS_MODULE_DENSE &&
			spec->modules[m].kind != DS_MODULE_NORMALIZE)
			return ds_fail(status, DS_UNSUPPORTED,
						   "module %u of the image encoder cannot be trained", m);
	for (uint32_t c = 0; c < spec->channels; c++)
		REFUSE_UNLESS(fabs(tower->pixel_mean[c]) <= 1e6 && tower->pixel_deviation[c] >= 1e-6 &&
						  tower->pixel_deviation[c] <= 1e6,
					  "the mean and deviation of pixels must be finite, the latter positive");
	REFUSE_UNLESS(tower->moves < spec->height && tower->moves < spec->width,
				  "pictures of %u x %u cannot be moved by %u pixels", spec->height, spec->width,
				  tower->moves);
	return DS_OK;
}

static size_t
tower_width(const DsTower *tower)
{
	const DsTowerConfig *bag = &tower->bag;

	if (tower->body == DS_BODY_IMAGE)
		return ds_image_spec_dims(&tower->image);
	if (tower->body == DS_BODY_FUSION)
		return tower->fusion_dims;
	if (tower->body == DS_BODY_TRANSFORMER)
		return ds_spec_dims(&tower->spec);
	return dense_width(bag);
}

static DsCode
check_fusion(const DsTower *tower, DsStatus *status)
{
	DsCode code = check_image(tower, status);
	size_t text = dense_width(&tower->bag);
	size_t image;

	if (code != DS_OK)
		return code;
	if (tower->image.kind != DS_IMAGE_CONV)
		return ds_fail(status, DS_UNSUPPORTED,
					   "texts can be trained together with pictures in one tower only where a "
					   "convolutional network reads these, not one of the family \"%s\"",
					   tower->image.family);
	image = ds_image_spec_dims(&tower->image);
	REFUSE_UNLESS((unsigned) tower->fusion <= DS_FUSION_GATED, "unknown kind of fusion");
	REFUSE_UNLESS(tower->fusion_dims >= 1 && tower->fusion_dims <= DS_SPEC_MAX_HIDDEN,
				  "a document's vector cannot have %u components", tower->fusion_dims);
	REFUSE_UNLESS(tower->fusion != DS_FUSION_GATED ||
					  (text == tower->fusion_dims && image == tower->fusion_dims),
				  "gated fusion needs vectors of one width, not %zu (text), %zu (image) and %u",
				  text, image, tower->fusion_dims);
	REFUSE_UNLESS(tower->leave_out >= 0 && tower->leave_out < 1,
				  "leave_out must be at least 0 and below 1");
	return DS_OK;
}

DsCode
ds_net_check(const DsNet *net, DsStatus *status)
{
	REFUSE_UNLESS((unsigned) net->kind <= DS_NET_SINGLE, "unknown kind of network");
	REFUSE_UNLESS((unsigned) net->score <= DS_SCORE_DOT, "unknown score");
	for (size_t t = 0; t < net_towers(net); t++)
	{
		const DsTower *tower = &net->tower[t];
		DsDualEncoderConfig dense = {.shared = true, .tower = {tower->bag}};
		DsCode code;

		REFUSE_UNLESS((unsigned) tower->body <= DS_BODY_FUSION, "unknown kind of tower");
		dense.tower[0].features = tower->body == DS_BODY_FEATURES;
		if (tower->body == DS_BODY_TRANSFORMER)
			code = check_texts(tower, status);
		else if (tower->body == DS_BODY_IMAGE)
			code = check_image(tower, status);
		else
			code = ds_dual_encoder_check(&dense, status);
		if (code == DS_OK && tower->body == DS_BODY_FUSION)
			code = check_fusion(tower, status);
		if (code != DS_OK)
			return code;
	}
	REFUSE_UNLESS(net_towers(net) == 1 ||
					  tower_width(&net->tower[0]) == tower_width(&net->tower[1]),
				  "both towers must give vectors of the same width, not %zu (query) and %zu "
				  "(document)",
				  tower_width(&net->tower[0]), tower_width(&net->tower[1]));
	return DS_OK;
}

size_t
ds_net_dims(const DsNet *net)
{
	return tower_width(&net->tower[0]);
}

DsCode
ds_train_check_net(const DsTrainConfig *config, const DsNet *net, DsStatus *status)
{
	DsLoss loss = config->loss;
	size_t dims = ds_net_dims(net);

	if (net->kind == DS_NET_DUAL)
	{
		REFUSE_UNLESS(loss != DS_LOSS_CLASSES, "a dual encoder has no classes to tell apart");
		for (uint32_t i = 0; i < config->matryoshka_count; i++)
			REFUSE_UNLESS(config->matryoshka[i] <= dims,
						  "the vectors have %zu components, Matryoshka cannot keep %u", dims,
						  config->matryoshka[i]);
		return DS_OK;
	}
	REFUSE_UNLESS(!in_batch(loss) && loss != DS_LOSS_TRIPLET && loss != DS_LOSS_PAIR_CONTRASTIVE,
				  "the loss compares vectors, which this network does not make");
	REFUSE_UNLESS(config->matryoshka_count == 0, "Matryoshka is for dual encoders");
	if (loss == DS_LOSS_CLASSES)
		REFUSE_UNLESS(dims >= 2, "classification needs at least two outputs");
	else if (loss != DS_LOSS_BINARY)
		REFUSE_UNLESS(dims == 1, "the loss needs a network of one output, not %zu", dims);
	return DS_OK;
}
