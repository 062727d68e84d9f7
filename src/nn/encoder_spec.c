/*
 * encoder_spec.c
 *		Checking the description of an encoder, its tensors, its JSON.
 *
 * One table lists the fields with their limits; checking, writing and reading
 * go through it, so that a field cannot be forgotten in one of them.
 */
#include "nn/encoder_spec.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef enum FieldKind
{
	NUMBER,
	FLAG,
	REAL,
	ID, /* a token id; DS_SPEC_NO_ID stands for none */
	KIND,
	ACTIVATION,
	POOLING
} FieldKind;

typedef struct Field
{
	const char *name;
	size_t offset;
	FieldKind kind;
	uint32_t most; /* NUMBER: the limit */
} Field;

#define FIELD(name, kind, most)                          \
	{                                                    \
#name, offsetof(DsEncoderSpec, name), kind, most \
	}

static const Field fields[] = {
	FIELD(kind, KIND, 0),
	FIELD(vocabulary, NUMBER, DS_SPEC_MAX_VOCABULARY),
	FIELD(hidden, NUMBER, DS_SPEC_MAX_HIDDEN),
	FIELD(positions, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(position_offset, NUMBER, DS_SPEC_MAX_POSITIONS),
	FIELD(types, NUMBER, 1024),
	FIELD(embedding_norm, FLAG, 1),
	FIELD(layers, NUMBER, DS_SPEC_MAX_LAYERS),
	FIELD(heads, NUMBER, DS_SPEC_MAX_HEADS),
	FIELD(head_dims, NUMBER, DS_SPEC_MAX_HEAD_DIMS),
	FIELD(intermediate, NUMBER, DS_SPEC_MAX_INTERMEDIATE),
	FIELD(activation, ACTIVATION, DS_ACTIVATIONS - 1),
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
	FIELD(pooling, POOLING, 127),
	FIELD(eot_id, ID, 0),
	FIELD(scores, FLAG, 1),
	FIELD(static_rows, NUMBER, DS_SPEC_MAX_VOCABULARY),
	FIELD(token_weights, FLAG, 1),
	FIELD(pad_id, ID, 0),
	FIELD(cls_id, ID, 0),
	FIELD(sep_id, ID, 0),
};

#define MODULE_FIELD(name, kind, most)                  \
	{                                                   \
#name, offsetof(DsSpecModule, name), kind, most \
	}

static const Field module_fields[] = {
	MODULE_FIELD(in, NUMBER, 1 << 20),
	MODULE_FIELD(out, NUMBER, 1 << 20),
	MODULE_FIELD(activation, ACTIVATION, DS_ACTIVATIONS - 1),
	MODULE_FIELD(bias, FLAG, 1),
	MODULE_FIELD(epsilon, REAL, 0),
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char *const kinds[] = {NULL, "transformer", "static"};
static const char *const module_kinds[] = {NULL, "dense", "norm", "normalize", "slice"};
static const char *const activations[] = {"identity", "gelu", "gelu_tanh", "quick_gelu",
										  "relu",	  "silu", "tanh",	   "sigmoid"};
static const char *const poolings[] = {"cls",			"max",	"mean", "mean_sqrt",
									   "weighted_mean", "last", "eot"};

_Static_assert(LENGTH(activations) == DS_ACTIVATIONS, "a name for each activation");

static uint32_t
get_number(const void *base, const Field *field)
{
	uint32_t value;

	memcpy(&value, (const char *) base + field->offset, sizeof(value));
	return value;
}

static float
get_real(const void *base, const Field *field)
{
	float value;

	memcpy(&value, (const char *) base + field->offset, sizeof(value));
	return value;
}

const char *
ds_activation_name(uint32_t activation)
{
	return activation < DS_ACTIVATIONS ? activations[activation] : NULL;
}

void
ds_spec_init(DsEncoderSpec *spec, DsEncoderKind kind)
{
	memset(spec, 0, sizeof(*spec));
	spec->version = DS_SPEC_VERSION;
	spec->kind = kind;
	spec->eot_id = spec->pad_id = spec->cls_id = spec->sep_id = DS_SPEC_NO_ID;
}

/* Limits that hold for one field alone */
static DsCode
check_fields(const void *base, const Field *list, size_t count, const char *what, DsStatus *status)
{
	for (size_t i = 0; i < count; i++)
	{
		const Field *field = &list[i];

		if (field->kind == REAL)
		{
			float value = get_real(base, field);

			if (!isfinite(value) || value < 0)
				return ds_fail(status, DS_INVALID, "%s: %s must be a finite number, not negative",
							   what, field->name);
		}
		else if (field->kind != ID && field->kind != KIND && get_number(base, field) > field->most)
			return ds_fail(status, DS_INVALID, "%s: %s is %u, the most is %u", what, field->name,
						   get_number(base, field), field->most);
	}
	return DS_OK;
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

#define REFUSE(...) return ds_fail(status, DS_INVALID, __VA_ARGS__)

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
	if (spec->static_rows > 0 || spec->token_weights)
		REFUSE("encoder: static_rows and token_weights are for static encoders");
	return DS_OK;
}

static DsCode
check_modules(const DsEncoderSpec *spec, DsStatus *status)
{
	size_t dims = ds_spec_pooled_dims(spec);

	if (spec->module_count > DS_SPEC_MODULES)
		REFUSE("encoder: %u modules, the most is %d", spec->module_count, DS_SPEC_MODULES);
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		const DsSpecModule *module = &spec->modules[m];
		DsCode code =
			check_fields(module, module_fields, LENGTH(module_fields), "encoder: module", status);

		if (code != DS_OK)
			return code;
		if (module->kind < DS_MODULE_DENSE || module->kind > DS_MODULE_SLICE)
			REFUSE("encoder: module %u is of unknown kind %u", m, module->kind);
		if (module->in != dims || module->out == 0 || module->out > DS_SPEC_MAX_HIDDEN)
			REFUSE("encoder: module %u goes from %u to %u, what comes before it has %zu components",
				   m, module->in, module->out, dims);
		if ((module->kind == DS_MODULE_NORM || module->kind == DS_MODULE_NORMALIZE) &&
			module->out != module->in)
			REFUSE("encoder: module %u changes the number of components", m);
		if (module->kind == DS_MODULE_NORM && !(module->epsilon > 0))
			REFUSE("encoder: module %u needs a positive epsilon", m);
		if (module->kind == DS_MODULE_SLICE && module->out > module->in)
			REFUSE("encoder: module %u takes %u of %u components", m, module->out, module->in);
		dims = module->out;
	}
	if (dims > DS_SPEC_MAX_HIDDEN)
		REFUSE("encoder: the result has %zu components, the most is %d", dims, DS_SPEC_MAX_HIDDEN);
	return DS_OK;
}

DsCode
ds_spec_check(const DsEncoderSpec *spec, DsStatus *status)
{
	DsCode code;

	if (spec->version != DS_SPEC_VERSION)
		return ds_fail(status, DS_BAD_DATA, "encoder: description of version %u", spec->version);
	if (spec->kind != DS_ENCODER_TRANSFORMER && spec->kind != DS_ENCODER_STATIC)
		REFUSE("encoder: unknown kind %u", spec->kind);
	if (memchr(spec->family, 0, sizeof(spec->family)) == NULL)
		REFUSE("encoder: the family's name is too long");
	for (const char *p = spec->family; *p != 0; p++)
		if (*p < 0x20 || *p > 0x7e || *p == '"' || *p == '\\')
			REFUSE("encoder: the family's name must be plain ASCII");
	code = check_fields(spec, fields, LENGTH(fields), "encoder", status);
	if (code != DS_OK)
		return code;
	if (spec->vocabulary == 0 || spec->hidden == 0 || spec->max_tokens == 0)
		REFUSE("encoder: vocabulary, hidden and max_tokens must be positive");
	if (spec->kind == DS_ENCODER_TRANSFORMER)
		code = check_transformer(spec, status);
	else if (spec->static_rows == 0 || spec->layers > 0)
		REFUSE("encoder: a static encoder has static_rows and no layers");
	return code != DS_OK ? code : check_modules(spec, status);
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

/* Writing */

typedef struct Writer
{
	char *out;
	size_t size;
	size_t length; /* that it would have */
	bool first; /* no member of this object yet */
} Writer;

__attribute__((format(printf, 2, 3))) static void
put(Writer *writer, const char *format, ...)
{
	bool room = writer->length < writer->size;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(room ? writer->out + writer->length : NULL,
				  room ? writer->size - writer->length : 0, format, args);
	va_end(args);
	writer->length += n > 0 ? (size_t) n : 0;
}

static void
put_key(Writer *writer, const char *name)
{
	put(writer, "%s\"%s\": ", writer->first ? "" : ", ", name);
	writer->first = false;
}

static void
put_poolings(Writer *writer, uint32_t set)
{
	bool first = true;

	put(writer, "[");
	for (size_t i = 0; i < LENGTH(poolings); i++)
		if (set & (1u << i))
		{
			put(writer, "%s\"%s\"", first ? "" : ", ", poolings[i]);
			first = false;
		}
	put(writer, "]");
}

static void
put_fields(Writer *writer, const void *base, const Field *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		const Field *field = &list[i];
		uint32_t number = get_number(base, field);

		if (field->kind == ID ? number == DS_SPEC_NO_ID : number == 0)
			continue;
		put_key(writer, field->name);
		switch (field->kind)
		{
			case NUMBER:
			case ID:
				put(writer, "%u", number);
				break;
			case FLAG:
				put(writer, "true");
				break;
			case REAL:
				put(writer, "%.9g", (double) get_real(base, field));
				break;
			case KIND:
				put(writer, "\"%s\"", kinds[number]);
				break;
			case ACTIVATION:
				put(writer, "\"%s\"", activations[number]);
				break;
			case POOLING:
				put_poolings(writer, number);
				break;
		}
	}
}

size_t
ds_spec_write(const DsEncoderSpec *spec, char *out, size_t size)
{
	Writer writer = {.out = out, .size = size, .first = true};

	put(&writer, "{");
	put_key(&writer, "version");
	put(&writer, "%u", spec->version);
	put_key(&writer, "family");
	put(&writer, "\"%s\"", spec->family);
	put_fields(&writer, spec, fields, LENGTH(fields));
	if (spec->module_count > 0)
	{
		put_key(&writer, "modules");
		put(&writer, "[");
		for (uint32_t m = 0; m < spec->module_count; m++)
		{
			put(&writer, "%s{\"kind\": \"%s\"", m > 0 ? ", " : "",
				module_kinds[spec->modules[m].kind]);
			put_fields(&writer, &spec->modules[m], module_fields, LENGTH(module_fields));
			put(&writer, "}");
		}
		put(&writer, "]");
	}
	put(&writer, "}");
	return writer.length;
}

/* Reading */

/* the number of a word in a list, which may begin with holes; -1: none */
static int
word(DsJson value, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] != NULL && ds_json_string_is(value, list[i]))
			return (int) i;
	return -1;
}

static bool
read_value(const Field *field, DsJson value, uint32_t *number)
{
	int64_t integer;
	double real;
	float single;
	bool flag;
	int index;

	switch (field->kind)
	{
		case NUMBER:
		case ID:
			if (!ds_json_integer(value, &integer) || integer < 0 || integer > UINT32_MAX)
				return false;
			*number = (uint32_t) integer;
			return true;
		case FLAG:
			if (!ds_json_bool(value, &flag))
				return false;
			*number = flag;
			return true;
		case REAL:
			if (!ds_json_double(value, &real) || !(fabs(real) <= 1e30))
				return false;
			single = (float) real;
			memcpy(number, &single, sizeof(single));
			return true;
		case KIND:
			index = word(value, kinds, LENGTH(kinds));
			*number = (uint32_t) index;
			return index >= 0;
		case ACTIVATION:
			index = word(value, activations, LENGTH(activations));
			*number = (uint32_t) index;
			return index >= 0;
		case POOLING:
			if (ds_json_kind(value) != DS_JSON_ARRAY)
				return false;
			*number = 0;
			for (DsJsonItem item = ds_json_items(value); ds_json_next(&item);)
			{
				index = word(item.value, poolings, LENGTH(poolings));
				if (index < 0)
					return false;
				*number |= 1u << index;
			}
			return true;
	}
	return false;
}

static DsCode
refuse_key(DsJson key, const char *why, DsStatus *status)
{
	/* a JSON string as it stands, cut short */
	size_t length = (size_t) (ds_json_skip(key) - key.at);

	return ds_fail(status, DS_INVALID, "encoder: %s %.*s", why, (int) (length < 80 ? length : 80),
				   key.at);
}

static DsCode
read_member(void *base, const Field *list, size_t count, DsJsonItem item, DsStatus *status)
{
	for (size_t i = 0; i < count; i++)
		if (ds_json_string_is(item.key, list[i].name))
		{
			uint32_t number;

			if (!read_value(&list[i], item.value, &number))
				return refuse_key(item.key, "wrong value of", status);
			memcpy((char *) base + list[i].offset, &number, sizeof(number));
			return DS_OK;
		}
	return refuse_key(item.key, "unknown key", status);
}

static DsCode
read_modules(DsJson array, DsEncoderSpec *spec, DsStatus *status)
{
	spec->module_count = 0;
	memset(spec->modules, 0, sizeof(spec->modules));
	if (ds_json_kind(array) != DS_JSON_ARRAY)
		REFUSE("encoder: wrong value of \"modules\"");
	for (DsJsonItem item = ds_json_items(array); ds_json_next(&item);)
	{
		DsSpecModule *module;
		int kind = word(ds_json_member(item.value, "kind"), module_kinds, LENGTH(module_kinds));

		if (spec->module_count == DS_SPEC_MODULES || kind < 0)
			REFUSE("encoder: too many modules, or one of unknown kind");
		module = &spec->modules[spec->module_count++];
		module->kind = (uint32_t) kind;
		for (DsJsonItem member = ds_json_items(item.value); ds_json_next(&member);)
		{
			DsCode code;

			if (ds_json_string_is(member.key, "kind"))
				continue;
			code = read_member(module, module_fields, LENGTH(module_fields), member, status);
			if (code != DS_OK)
				return code;
		}
	}
	return DS_OK;
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
		DsCode code = DS_OK;

		if (ds_json_string_is(item.key, "version"))
		{
			if (!ds_json_integer(item.value, &version))
				code = refuse_key(item.key, "wrong value of", status);
		}
		else if (ds_json_string_is(item.key, "family"))
		{
			memset(spec->family, 0, sizeof(spec->family));
			if (ds_json_kind(item.value) != DS_JSON_STRING ||
				ds_json_string_size(item.value) >= sizeof(spec->family))
				code = refuse_key(item.key, "wrong value of", status);
			else
				ds_json_string_copy(item.value, spec->family);
		}
		else if (ds_json_string_is(item.key, "modules"))
			code = read_modules(item.value, spec, status);
		else
			code = read_member(spec, fields, LENGTH(fields), item, status);
		if (code != DS_OK)
			return code;
	}
	if (version != DS_SPEC_VERSION)
		REFUSE("encoder: description of version %lld", (long long) version);
	return ds_spec_check(spec, status);
}
