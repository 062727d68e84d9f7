/*
 * encoder_spec.c
 *		Checking the description of an encoder, its tensors, its JSON.
 */
#include "nn/encoder_spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <math.h>
#include <string.h>

#include "nn/spec_fields.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define REFUSE(...) return ds_fail(status, DS_INVALID, __VA_ARGS__)
#define FIELD(name, kind, most) DS_FIELD(DsEncoderSpec, name, kind, most)

static const char *const kinds[] = {NULL, "transformer", "static", "patches"};
static const char *const poolings[] = {"cls",			"max",	"mean", "mean_sqrt",
									   "weighted_mean", "last", "eot"};

static const DsField fields[] = {
	DS_WORD_FIELD(DsEncoderSpec, kind, kinds),
	FIELD(vocabulary, NUMBER, DS_SPEC_MAX_VOCABULARY),
	FIELD(patch_dims, NUMBER, DS_SPEC_MAX_PATCH),
	FIELD(patch_bias, FLAG, 1),
	FIELD(class_token, FLAG, 1),
	FIELD(hidden, NUMBER, DS_SPEC_MAX_HIDDEN),
	FIELD(positions, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(position_offset, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(types, NUMBER, 1024),
	FIELD(embedding_norm, FLAG, 1),
	FIELD(layers, NUMBER, DS_SPEC_MAX_LAYERS),
	FIELD(heads, NUMBER, DS_SPEC_MAX_HEADS),
	FIELD(head_dims, NUMBER, DS_SPEC_MAX_HEAD_DIMS),
	FIELD(intermediate, NUMBER, DS_SPEC_MAX_INTERMEDIATE),
	DS_WORD_FIELD(DsEncoderSpec, activation, ds_activation_words),
	FIELD(gated, FLAG, 1),
	FIELD(norm_first, FLAG, 1),
	FIELD(first_norm_absent, FLAG, 1),
	FIELD(final_norm, FLAG, 1),
	FIELD(norm_epsilon, REAL, 0),
	FIELD(norm_bias, FLAG, 1),
	FIELD(qkv_bias, FLAG, 1),
	FIELD(out_bias, FLAG, 1),
	FIELD(up_bias, FLAG, 1),
	FIELD(down_bias, FLAG, 1),
	FIELD(qkv_fused, FLAG, 1),
	FIELD(gate_up_fused, FLAG, 1),
	FIELD(causal, FLAG, 1),
	FIELD(window, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(global_every, NUMBER, DS_SPEC_MAX_LAYERS),
	FIELD(relative_buckets, NUMBER, 1024),
	FIELD(relative_distance, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(rotary_dims, NUMBER, DS_SPEC_MAX_HEAD_DIMS),
	FIELD(rotary_interleaved, FLAG, 1),
	FIELD(rotary_base, REAL, 0),
	FIELD(window_base, REAL, 0),
	FIELD(rotary_scaling, REAL, 0),
	FIELD(rotary_trained, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(max_tokens, NUMBER, DS_SPEC_MAX_TOKENS),
	DS_SET_FIELD(DsEncoderSpec, pooling, poolings),
	FIELD(pool_skip, NUMBER, DS_SPEC_MAX_TOKENS),
	FIELD(eot_id, ID, 0),
	FIELD(scores, FLAG, 1),
	FIELD(static_rows, NUMBER, DS_SPEC_MAX_VOCABULARY),
	FIELD(token_weights, FLAG, 1),
	FIELD(pad_id, ID, 0),
	FIELD(cls_id, ID, 0),
	FIELD(sep_id, ID, 0),
};

void
ds_spec_init(DsEncoderSpec *spec, DsEncoderKind kind)
{
	memset(spec, 0, sizeof(*spec));
	spec->version = DS_SPEC_VERSION;
	spec->kind = kind;
	spec->eot_id = spec->pad_id = spec->cls_id = spec->sep_id = DS_SPEC_NO_ID;
}

size_t
ds_spec_pooled_dims(const DsEncoderSpec *spec)
{
	if (spec->kind == DS_ENCODER_STATIC)
		return spec->hidden;
	return (size_t) spec->hidden * (size_t) __builtin_popcount(spec->pooling);
}

size_t
ds_spec_dims(const DsEncoderSpec *spec)
{
	return spec->module_count > 0 ? spec->modules[spec->module_count - 1].out
								  : ds_spec_pooled_dims(spec);
}

static DsCode
check_transformer(const DsEncoderSpec *spec, DsStatus *status)
{
	if (spec->layers == 0 || spec->heads == 0 || spec->head_dims == 0 || spec->intermediate == 0)
		REFUSE("encoder: layers, heads, head_dims and intermediate must be positive");
	if (spec->pooling == 0)
		REFUSE("encoder: pooling names no pooling");
	if (!(spec->norm_epsilon > 0))
		REFUSE("encoder: norm_epsilon must be positive");
	if (spec->first_norm_absent && !spec->norm_first)
		REFUSE("encoder: first_norm_absent without norm_first");
	if (spec->gate_up_fused && !spec->gated)
		REFUSE("encoder: gate_up_fused without gated");
	if (spec->position_offset > 0 && spec->positions == 0)
		REFUSE("encoder: position_offset without positions");
	if (spec->positions > 0 && (spec->position_offset >= spec->positions ||
								spec->max_tokens > spec->positions - spec->position_offset))
		REFUSE("encoder: max_tokens is %u, but there are %u positions from %u on", spec->max_tokens,
			   spec->positions, spec->position_offset);
	if ((spec->window > 0) != (spec->global_every > 0))
		REFUSE("encoder: window and global_every need each other");
	if ((spec->relative_buckets > 0) != (spec->relative_distance > 0))
		REFUSE("encoder: relative_buckets and relative_distance need each other");
	/* half the buckets a direction, half of these for single distances */
	if (spec->relative_buckets > 0 &&
		(spec->relative_buckets % 4 != 0 || spec->relative_distance <= spec->relative_buckets / 4))
		REFUSE("encoder: relative_buckets is %u with relative_distance %u", spec->relative_buckets,
			   spec->relative_distance);
	if (spec->rotary_dims % 2 != 0 || spec->rotary_dims > spec->head_dims)
		REFUSE("encoder: rotary_dims is %u with head_dims %u", spec->rotary_dims, spec->head_dims);
	if (spec->rotary_dims > 0 && !(spec->rotary_base > 0))
		REFUSE("encoder: rotary_base must be positive");
	if (spec->rotary_scaling > 0 &&
		(spec->rotary_dims <= 2 || spec->rotary_trained == 0 || spec->rotary_scaling < 1))
		REFUSE("encoder: rotary_scaling needs rotary_dims above 2, rotary_trained, and 1 or more");
	if ((spec->pooling & DS_POOL_EOT) && spec->eot_id >= spec->vocabulary)
		REFUSE("encoder: eot_id is %u in a vocabulary of %u", spec->eot_id, spec->vocabulary);
	if (spec->pool_skip >= spec->max_tokens)
		REFUSE("encoder: pool_skip is %u of %u tokens", spec->pool_skip, spec->max_tokens);
	if (spec->static_rows > 0 || spec->token_weights)
		REFUSE("encoder: static_rows and token_weights are for static encoders");
	return DS_OK;
}

static DsCode
check_patches(const DsEncoderSpec *spec, DsStatus *status)
{
	if (spec->vocabulary > 0 || spec->types > 0)
		REFUSE("encoder: patches have no vocabulary and no types");
	if (spec->patch_dims == 0)
		REFUSE("encoder: patch_dims must be positive");
	return DS_OK;
}

DsCode
ds_spec_check(const DsEncoderSpec *spec, DsStatus *status)
{
	DsCode code;

	if (spec->version != DS_SPEC_VERSION)
		return ds_fail(status, DS_BAD_DATA, "encoder: description of version %u", spec->version);
	if (spec->kind < DS_ENCODER_TRANSFORMER || spec->kind > DS_ENCODER_PATCHES)
		REFUSE("encoder: unknown kind %u", spec->kind);
	code = ds_spec_check_family(spec->family, sizeof(spec->family), "encoder", status);
	if (code == DS_OK)
		code = ds_fields_check(spec, fields, LENGTH(fields), "encoder", status);
	if (code == DS_OK && spec->kind == DS_ENCODER_PATCHES)
		code = check_patches(spec, status);
	else if (code == DS_OK && (spec->patch_dims > 0 || spec->patch_bias || spec->class_token))
		REFUSE("encoder: patch_dims, patch_bias and class_token are for patches");
	else if (code == DS_OK && spec->vocabulary == 0)
		REFUSE("encoder: vocabulary must be positive");
	if (code != DS_OK)
		return code;
	if (spec->hidden == 0 || spec->max_tokens == 0)
		REFUSE("encoder: hidden and max_tokens must be positive");
	if (spec->kind != DS_ENCODER_STATIC)
		code = check_transformer(spec, status);
	else if (spec->static_rows == 0 || spec->layers > 0)
		REFUSE("encoder: a static encoder has static_rows and no layers");
	if (code != DS_OK)
		return code;
	return ds_spec_check_modules(spec->modules, spec->module_count, ds_spec_pooled_dims(spec),
								 "encoder", status);
}

/*
 * The list of tensors: visit() is called for one after the other, and the one
 * that is looked for (by number, or by name) stays in *found.
 */
typedef struct Walk
{
	size_t number; /* of the next one */
	size_t wanted; /* SIZE_MAX: none by number */
	const char *name; /* or this name */
	size_t name_length;
	DsSpecTensor *found;
	bool hit;
	uint64_t values;
} Walk;

__attribute__((format(printf, 6, 7))) static void
visit(Walk *walk, uint32_t rank, size_t rows, size_t columns, bool linear, const char *format, ...)
{
	char name[DS_SPEC_NAME] = {0};
	va_list args;
	size_t number = walk->number++;

	walk->values += (uint64_t) rows * columns;
	if (number != walk->wanted && walk->name == NULL)
		return;
	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	if (number != walk->wanted &&
		(strlen(name) != walk->name_length || memcmp(name, walk->name, walk->name_length) != 0))
		return;
	walk->hit = true;
	memcpy(walk->found->name, name, sizeof(name));
	walk->found->rank = rank;
	walk->found->shape[0] = (uint32_t) rows;
	walk->found->shape[1] = (uint32_t) columns;
	walk->found->linear = linear;
}

static void
visit_norm(Walk *walk, size_t dims, bool bias, const char *name)
{
	visit(walk, 1, dims, 1, false, "%s.weight", name);
	if (bias)
		visit(walk, 1, dims, 1, false, "%s.bias", name);
}

static void
visit_linear(Walk *walk, size_t out, size_t in, bool bias, uint32_t layer, const char *name)
{
	visit(walk, 2, out, in, true, "layer.%u.%s.weight", layer, name);
	if (bias)
		visit(walk, 1, out, 1, false, "layer.%u.%s.bias", layer, name);
}

static void
visit_layer(Walk *walk, const DsEncoderSpec *spec, uint32_t layer)
{
	size_t hidden = spec->hidden;
	size_t width = (size_t) spec->heads * spec->head_dims;
	size_t inner = spec->intermediate;
	char name[DS_SPEC_NAME];

	if (layer > 0 || !spec->first_norm_absent)
	{
		snprintf(name, sizeof(name), "layer.%u.attention.norm", layer);
		visit_norm(walk, hidden, spec->norm_bias != 0, name);
	}
	if (spec->qkv_fused)
		visit_linear(walk, 3 * width, hidden, spec->qkv_bias != 0, layer, "attention.qkv");
	else
	{
		visit_linear(walk, width, hidden, spec->qkv_bias != 0, layer, "attention.query");
		visit_linear(walk, width, hidden, spec->qkv_bias != 0, layer, "attention.key");
		visit_linear(walk, width, hidden, spec->qkv_bias != 0, layer, "attention.value");
	}
	visit_linear(walk, hidden, width, spec->out_bias != 0, layer, "attention.out");
	snprintf(name, sizeof(name), "layer.%u.mlp.norm", layer);
	visit_norm(walk, hidden, spec->norm_bias != 0, name);
	if (spec->gate_up_fused)
		visit_linear(walk, 2 * inner, hidden, spec->up_bias != 0, layer, "mlp.gate_up");
	else
	{
		if (spec->gated)
			visit_linear(walk, inner, hidden, spec->up_bias != 0, layer, "mlp.gate");
		visit_linear(walk, inner, hidden, spec->up_bias != 0, layer, "mlp.up");
	}
	visit_linear(walk, hidden, inner, spec->down_bias != 0, layer, "mlp.down");
}

static void
visit_all(Walk *walk, const DsEncoderSpec *spec)
{
	size_t hidden = spec->hidden;

	if (spec->kind == DS_ENCODER_STATIC)
	{
		visit(walk, 2, spec->static_rows, hidden, false, "token.weight");
		if (spec->static_rows != spec->vocabulary)
			visit(walk, 1, spec->vocabulary, 1, false, "token.row");
		if (spec->token_weights)
			visit(walk, 1, spec->vocabulary, 1, false, "token.scale");
	}
	else
	{
		if (spec->kind == DS_ENCODER_PATCHES)
		{
			visit(walk, 2, hidden, spec->patch_dims, true, "patch.weight");
			if (spec->patch_bias)
				visit(walk, 1, hidden, 1, false, "patch.bias");
			if (spec->class_token)
				visit(walk, 1, hidden, 1, false, "class.weight");
		}
		else
			visit(walk, 2, spec->vocabulary, hidden, false, "token.weight");
		if (spec->positions > 0)
			visit(walk, 2, spec->positions, hidden, false, "position.weight");
		if (spec->types > 0)
			visit(walk, 2, spec->types, hidden, false, "type.weight");
		if (spec->relative_buckets > 0)
			visit(walk, 2, spec->relative_buckets, spec->heads, false, "relative.weight");
		if (spec->embedding_norm)
			visit_norm(walk, hidden, spec->norm_bias != 0, "embedding.norm");
		for (uint32_t layer = 0; layer < spec->layers; layer++)
			visit_layer(walk, spec, layer);
		if (spec->final_norm)
			visit_norm(walk, hidden, spec->norm_bias != 0, "final.norm");
	}
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		const DsSpecModule *module = &spec->modules[m];

		if (module->kind == DS_MODULE_DENSE)
			visit(walk, 2, module->out, module->in, true, "module.%u.weight", m);
		else if (module->kind == DS_MODULE_NORM)
			visit(walk, 1, module->in, 1, false, "module.%u.weight", m);
		else
			continue;
		if (module->bias)
			visit(walk, 1, module->out, 1, false, "module.%u.bias", m);
	}
}

size_t
ds_spec_tensors(const DsEncoderSpec *spec)
{
	Walk walk = {.wanted = SIZE_MAX};

	visit_all(&walk, spec);
	return walk.number;
}

bool
ds_spec_tensor(const DsEncoderSpec *spec, size_t number, DsSpecTensor *tensor)
{
	Walk walk = {.wanted = number, .found = tensor};

	visit_all(&walk, spec);
	return walk.hit;
}

bool
ds_spec_find(const DsEncoderSpec *spec, const char *name, DsSpecTensor *tensor)
{
	size_t length = strlen(name);
	Walk walk = {.wanted = SIZE_MAX, .name = name, .name_length = length, .found = tensor};
	uint32_t rows;

	visit_all(&walk, spec);
	if (walk.hit)
		return true;
	if (length < 2 || length >= DS_SPEC_NAME || strcmp(name + length - 2, "_t") != 0)
		return false;
	walk.name_length = length - 2;
	visit_all(&walk, spec);
	if (!walk.hit || !tensor->linear)
		return false;
	memcpy(tensor->name, name, length + 1);
	rows = tensor->shape[0];
	tensor->shape[0] = tensor->shape[1];
	tensor->shape[1] = rows;
	return true;
}

uint64_t
ds_spec_parameters(const DsEncoderSpec *spec)
{
	Walk walk = {.wanted = SIZE_MAX};

	visit_all(&walk, spec);
	return walk.values;
}

size_t
ds_spec_write(const DsEncoderSpec *spec, char *out, size_t size)
{
	DsSpecWriter writer = {.out = out, .size = size, .first = true};

	ds_spec_put(&writer, "{");
	ds_spec_put_key(&writer, "version");
	ds_spec_put(&writer, "%u", spec->version);
	ds_spec_put_key(&writer, "family");
	ds_spec_put(&writer, "\"%s\"", spec->family);
	ds_spec_put_fields(&writer, spec, fields, LENGTH(fields));
	ds_spec_put_modules(&writer, spec->modules, spec->module_count);
	ds_spec_put(&writer, "}");
	return writer.length;
}

DsCode
ds_spec_read(DsJson object, DsEncoderSpec *spec, DsStatus *status)
{
	int64_t version = 0;

	ds_spec_init(spec, 0);
	if (ds_json_kind(object) != DS_JSON_OBJECT)
		REFUSE("encoder: the description is not a JSON object");
	for (DsJsonItem item = ds_json_items(object); ds_json_next(&item);)
	{
		bool known;
		DsCode code = ds_spec_read_common(item, &version, spec->family, sizeof(spec->family),
										  "encoder", &known, status);

		if (!known && ds_json_string_is(item.key, "modules"))
			code = ds_spec_read_modules(item.value, spec->modules, &spec->module_count, "encoder",
										status);
		else if (!known)
			code = ds_spec_read_member(spec, fields, LENGTH(fields), item, "encoder", status);
		if (code != DS_OK)
			return code;
	}
	if (version != DS_SPEC_VERSION)
		REFUSE("encoder: description of version %lld", (long long) version);
	return ds_spec_check(spec, status);
}
