/*
 * image_spec.c
 *		Checking the description of a network over pictures, its tensors, its
 *		JSON.
 */
#include "nn/image_spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nn/spec_fields.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define REFUSE(...) return ds_fail(status, DS_INVALID, __VA_ARGS__)

static const char *const kinds[] = {NULL, "conv", "vit"};
static const char *const layer_kinds[] = {NULL,			  "conv",	  "max_pool",
										  "average_pool", "shortcut", "global_average"};

static const DsField fields[] = {
	DS_WORD_FIELD(DsImageSpec, kind, kinds),
	DS_FIELD(DsImageSpec, height, NUMBER, DS_IMAGE_MAX_EDGE),
	DS_FIELD(DsImageSpec, width, NUMBER, DS_IMAGE_MAX_EDGE),
	DS_FIELD(DsImageSpec, channels, NUMBER, 64),
	DS_FIELD(DsImageSpec, patch, NUMBER, DS_IMAGE_MAX_EDGE),
};

static const DsField layer_fields[] = {
	DS_WORD_FIELD(DsImageLayer, kind, layer_kinds),
	DS_FIELD(DsImageLayer, input, NUMBER, DS_IMAGE_LAYERS),
	DS_FIELD(DsImageLayer, out, NUMBER, DS_IMAGE_MAX_CHANNELS),
	DS_FIELD(DsImageLayer, kernel_height, NUMBER, DS_IMAGE_MAX_KERNEL),
	DS_FIELD(DsImageLayer, kernel_width, NUMBER, DS_IMAGE_MAX_KERNEL),
	DS_FIELD(DsImageLayer, stride, NUMBER, DS_IMAGE_MAX_KERNEL),
	DS_FIELD(DsImageLayer, padding, NUMBER, DS_IMAGE_MAX_KERNEL),
	DS_FIELD(DsImageLayer, bias, FLAG, 1),
	DS_FIELD(DsImageLayer, norm, FLAG, 1),
	DS_FIELD(DsImageLayer, epsilon, REAL, 0),
	DS_FIELD(DsImageLayer, add, NUMBER, DS_IMAGE_LAYERS),
	DS_WORD_FIELD(DsImageLayer, activation, ds_activation_words),
};

void
ds_image_spec_init(DsImageSpec *spec, DsImageKind kind)
{
	memset(spec, 0, sizeof(*spec));
	spec->version = DS_IMAGE_SPEC_VERSION;
	spec->kind = kind;
	if (kind == DS_IMAGE_VIT)
		ds_spec_init(&spec->transformer, DS_ENCODER_PATCHES);
}

static uint32_t
windows(uint32_t size, uint32_t padding, uint32_t kernel, uint32_t stride)
{
	return (size + 2 * padding - kernel) / stride + 1;
}

/* Of a layer whose fields are within their limits; all zero if its window does not fit */
static DsImageShape
shape_of(const DsImageLayer *layer, DsImageShape in)
{
	DsImageShape out = {1, 1, layer->out};

	if (layer->kind == DS_LAYER_GLOBAL_AVERAGE)
		return out;
	if (layer->kind == DS_LAYER_SHORTCUT)
	{
		out.height = windows(in.height, 0, 1, layer->stride);
		out.width = windows(in.width, 0, 1, layer->stride);
		return out;
	}
	if (layer->kernel_height > in.height + 2 * layer->padding ||
		layer->kernel_width > in.width + 2 * layer->padding)
		return (DsImageShape){0, 0, 0};
	out.height = windows(in.height, layer->padding, layer->kernel_height, layer->stride);
	out.width = windows(in.width, layer->padding, layer->kernel_width, layer->stride);
	return out;
}

void
ds_image_shapes(const DsImageSpec *spec, DsImageShape *shapes)
{
	shapes[0] = (DsImageShape){spec->height, spec->width, spec->channels};
	for (uint32_t l = 0; l < spec->layer_count; l++)
		shapes[l + 1] = shape_of(&spec->layers[l], shapes[spec->layers[l].input]);
}

/* What a kind of layer needs, and must not have */
static DsCode
check_layer(const DsImageLayer *layer, uint32_t number, DsImageShape in, DsStatus *status)
{
	bool window = layer->kind != DS_LAYER_SHORTCUT && layer->kind != DS_LAYER_GLOBAL_AVERAGE;
	bool conv = layer->kind == DS_LAYER_CONV;

	if (layer->kind == 0)
		REFUSE("image: layer %u has no kind", number);
	if (layer->out == 0)
		REFUSE("image: layer %u has no channels", number);
	if (window != (layer->kernel_height > 0 && layer->kernel_width > 0))
		REFUSE("image: layer %u (%s) has a window of %u x %u", number, layer_kinds[layer->kind],
			   layer->kernel_height, layer->kernel_width);
	if ((layer->kind != DS_LAYER_GLOBAL_AVERAGE) != (layer->stride > 0))
		REFUSE("image: layer %u (%s) has stride %u", number, layer_kinds[layer->kind],
			   layer->stride);
	/* no window is all padding */
	if (layer->padding > 0 &&
		((!conv && layer->kind != DS_LAYER_MAX_POOL) || layer->padding >= layer->kernel_height ||
		 layer->padding >= layer->kernel_width))
		REFUSE("image: layer %u (%s) has padding %u", number, layer_kinds[layer->kind],
			   layer->padding);
	if (!conv && (layer->bias || layer->norm || layer->add > 0 || layer->activation != 0))
		REFUSE("image: layer %u (%s) has what convolutions alone can have", number,
			   layer_kinds[layer->kind]);
	if (layer->norm ? !(layer->epsilon > 0) : layer->epsilon > 0)
		REFUSE("image: layer %u: norm needs a positive epsilon, and no other layer has one",
			   number);
	if (layer->kind == DS_LAYER_SHORTCUT ? layer->out < in.channels
										 : !conv && layer->out != in.channels)
		REFUSE("image: layer %u (%s) goes from %u to %u channels", number, layer_kinds[layer->kind],
			   in.channels, layer->out);
	return DS_OK;
}

static DsCode
check_layers(const DsImageSpec *spec, DsStatus *status)
{
	DsImageShape shapes[DS_IMAGE_LAYERS + 1];
	DsImageShape last;

	if (spec->layer_count == 0 || spec->layer_count > DS_IMAGE_LAYERS)
		REFUSE("image: %u layers, there must be 1 to %d", spec->layer_count, DS_IMAGE_LAYERS);
	shapes[0] = (DsImageShape){spec->height, spec->width, spec->channels};
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		const DsImageLayer *layer = &spec->layers[l];
		DsImageShape *shape = &shapes[l + 1];
		DsCode code =
			ds_fields_check(layer, layer_fields, LENGTH(layer_fields), "image: layer", status);

		if (code != DS_OK)
			return code;
		if (layer->input > l || layer->add > l)
			REFUSE("image: layer %u reads a result that comes after it", l);
		code = check_layer(layer, l, shapes[layer->input], status);
		if (code != DS_OK)
			return code;
		*shape = shape_of(layer, shapes[layer->input]);
		if (shape->height == 0)
			REFUSE("image: the window of layer %u is larger than the %u x %u that it reads", l,
				   shapes[layer->input].height, shapes[layer->input].width);
		if ((uint64_t) shape->height * shape->width * shape->channels > DS_IMAGE_MAX_VALUES ||
			(uint64_t) layer->kernel_height * layer->kernel_width * shapes[layer->input].channels >
				DS_IMAGE_MAX_WINDOW)
			REFUSE("image: layer %u is too large", l);
		if (layer->add > 0 && memcmp(shape, &shapes[layer->add], sizeof(*shape)) != 0)
			REFUSE("image: layer %u adds a result of another size", l);
	}
	last = shapes[spec->layer_count];
	if (last.height != 1 || last.width != 1)
		REFUSE("image: the last layer gives %u x %u, not one vector", last.height, last.width);
	return DS_OK;
}

static DsCode
check_vit(const DsImageSpec *spec, DsStatus *status)
{
	uint64_t tokens;
	DsCode code;

	if (spec->layer_count > 0 || spec->module_count > 0)
		REFUSE("image: a vit has no layers and modules besides its transformer's");
	if (spec->patch == 0 || spec->height % spec->patch != 0 || spec->width % spec->patch != 0)
		REFUSE("image: patches of %u do not fill %u x %u", spec->patch, spec->height, spec->width);
	code = ds_spec_check(&spec->transformer, status);
	if (code != DS_OK)
		return code;
	if (spec->transformer.kind != DS_ENCODER_PATCHES)
		REFUSE("image: the transformer does not read patches");
	if (spec->transformer.patch_dims != (uint64_t) spec->patch * spec->patch * spec->channels)
		REFUSE("image: patch_dims is %u with patches of %u x %u x %u", spec->transformer.patch_dims,
			   spec->patch, spec->patch, spec->channels);
	tokens = (uint64_t) (spec->height / spec->patch) * (spec->width / spec->patch) +
			 spec->transformer.class_token;
	if (spec->transformer.max_tokens != tokens)
		REFUSE("image: max_tokens is %u, a picture has %llu", spec->transformer.max_tokens,
			   (unsigned long long) tokens);
	return DS_OK;
}

DsCode
ds_image_spec_check(const DsImageSpec *spec, DsStatus *status)
{
	DsCode code;

	if (spec->version != DS_IMAGE_SPEC_VERSION)
		return ds_fail(status, DS_BAD_DATA, "image: description of version %u", spec->version);
	code = ds_spec_check_family(spec->family, sizeof(spec->family), "image", status);
	if (code == DS_OK)
		code = ds_fields_check(spec, fields, LENGTH(fields), "image", status);
	if (code != DS_OK)
		return code;
	if (spec->height == 0 || spec->width == 0 || spec->channels == 0)
		REFUSE("image: height, width and channels must be positive");
	if (spec->kind == DS_IMAGE_VIT)
		return check_vit(spec, status);
	if (spec->kind != DS_IMAGE_CONV)
		REFUSE("image: unknown kind %u", spec->kind);
	if (spec->patch > 0 || spec->transformer.kind != 0)
		REFUSE("image: patches and a transformer are for vit");
	code = check_layers(spec, status);
	if (code != DS_OK)
		return code;
	return ds_spec_check_modules(spec->modules, spec->module_count, ds_image_pooled_dims(spec),
								 "image", status);
}

size_t
ds_image_values(const DsImageSpec *spec)
{
	return (size_t) spec->height * spec->width * spec->channels;
}

size_t
ds_image_pooled_dims(const DsImageSpec *spec)
{
	return spec->kind == DS_IMAGE_VIT ? ds_spec_pooled_dims(&spec->transformer)
									  : spec->layers[spec->layer_count - 1].out;
}

size_t
ds_image_spec_dims(const DsImageSpec *spec)
{
	if (spec->kind == DS_IMAGE_VIT)
		return ds_spec_dims(&spec->transformer);
	return spec->module_count > 0 ? spec->modules[spec->module_count - 1].out
								  : ds_image_pooled_dims(spec);
}

/* ---- tensors ---- */

/* A walk over all of them: what is looked for, by number or by name, stays in *found */
typedef struct Walk
{
	size_t number; /* of the next one */
	size_t wanted; /* SIZE_MAX: none by number */
	const char *name; /* or this name */
	DsImageTensor *found;
	bool hit;
	uint64_t values;
} Walk;

__attribute__((format(printf, 3, 4))) static void
visit(Walk *walk, const DsImageTensor *tensor, const char *format, ...)
{
	char name[DS_SPEC_NAME] = {0};
	va_list args;
	size_t number = walk->number++;

	walk->values +=
		(uint64_t) tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
	if (number != walk->wanted && walk->name == NULL)
		return;
	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	if (number != walk->wanted && strcmp(name, walk->name) != 0)
		return;
	walk->hit = true;
	*walk->found = *tensor;
	memcpy(walk->found->name, name, sizeof(name));
}

static DsImageTensor
vector_of(uint32_t n)
{
	return (DsImageTensor){.rank = 1, .shape = {n, 1, 1, 1}};
}

static void
visit_all(Walk *walk, const DsImageSpec *spec)
{
	static const char *const norms[] = {"weight", "bias", "mean", "var"};
	DsImageShape shapes[DS_IMAGE_LAYERS + 1];

	ds_image_shapes(spec, shapes);
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		const DsImageLayer *layer = &spec->layers[l];
		DsImageTensor one = vector_of(layer->out);
		DsImageTensor weight = {.rank = 4,
								.shape = {layer->out, shapes[layer->input].channels,
										  layer->kernel_height, layer->kernel_width}};

		if (layer->kind != DS_LAYER_CONV)
			continue;
		visit(walk, &weight, "layer.%u.weight", l);
		if (layer->bias)
			visit(walk, &one, "layer.%u.bias", l);
		for (size_t i = 0; layer->norm && i < LENGTH(norms); i++)
			visit(walk, &one, "layer.%u.norm.%s", l, norms[i]);
	}
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		const DsSpecModule *module = &spec->modules[m];
		DsImageTensor one = vector_of(module->out);
		DsImageTensor weight = {
			.rank = 2, .shape = {module->out, module->in, 1, 1}, .linear = true};

		if (module->kind == DS_MODULE_DENSE)
			visit(walk, &weight, "module.%u.weight", m);
		else if (module->kind == DS_MODULE_NORM)
			visit(walk, &one, "module.%u.weight", m);
		else
			continue;
		if (module->bias)
			visit(walk, &one, "module.%u.bias", m);
	}
}

static void
from_spec_tensor(const DsSpecTensor *from, DsImageTensor *to)
{
	memset(to, 0, sizeof(*to));
	memcpy(to->name, from->name, sizeof(to->name));
	to->rank = from->rank;
	to->shape[0] = from->shape[0];
	to->shape[1] = from->shape[1];
	to->shape[2] = to->shape[3] = 1;
	to->linear = from->linear;
}

size_t
ds_image_spec_tensors(const DsImageSpec *spec)
{
	Walk walk = {.wanted = SIZE_MAX};

	if (spec->kind == DS_IMAGE_VIT)
		return ds_spec_tensors(&spec->transformer);
	visit_all(&walk, spec);
	return walk.number;
}

bool
ds_image_spec_tensor(const DsImageSpec *spec, size_t number, DsImageTensor *tensor)
{
	Walk walk = {.wanted = number, .found = tensor};
	DsSpecTensor found;

	if (spec->kind != DS_IMAGE_VIT)
	{
		visit_all(&walk, spec);
		return walk.hit;
	}
	if (!ds_spec_tensor(&spec->transformer, number, &found))
		return false;
	from_spec_tensor(&found, tensor);
	return true;
}

bool
ds_image_spec_find(const DsImageSpec *spec, const char *name, DsImageTensor *tensor)
{
	char plain[DS_SPEC_NAME];
	size_t length = strlen(name);
	Walk walk = {.wanted = SIZE_MAX, .name = name, .found = tensor};
	DsSpecTensor found;
	uint32_t rows;

	if (spec->kind == DS_IMAGE_VIT)
	{
		if (!ds_spec_find(&spec->transformer, name, &found))
			return false;
		from_spec_tensor(&found, tensor);
		return true;
	}
	visit_all(&walk, spec);
	if (walk.hit)
		return true;
	if (length < 2 || length >= sizeof(plain) || strcmp(name + length - 2, "_t") != 0)
		return false;
	memcpy(plain, name, length - 2);
	plain[length - 2] = 0;
	walk.name = plain;
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
ds_image_spec_parameters(const DsImageSpec *spec)
{
	Walk walk = {.wanted = SIZE_MAX};

	if (spec->kind == DS_IMAGE_VIT)
		return ds_spec_parameters(&spec->transformer);
	visit_all(&walk, spec);
	return walk.values;
}

/* ---- JSON ---- */

static void
put_layers(DsSpecWriter *writer, const DsImageSpec *spec)
{
	ds_spec_put_key(writer, "layers");
	ds_spec_put(writer, "[");
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		ds_spec_put(writer, l > 0 ? ", {" : "{");
		writer->first = true;
		ds_spec_put_fields(writer, &spec->layers[l], layer_fields, LENGTH(layer_fields));
		ds_spec_put(writer, "}");
	}
	ds_spec_put(writer, "]");
	writer->first = false;
}

size_t
ds_image_spec_write(const DsImageSpec *spec, char *out, size_t size)
{
	DsSpecWriter writer = {.out = out, .size = size, .first = true};

	ds_spec_put(&writer, "{");
	ds_spec_put_key(&writer, "version");
	ds_spec_put(&writer, "%u", spec->version);
	ds_spec_put_key(&writer, "family");
	ds_spec_put(&writer, "\"%s\"", spec->family);
	ds_spec_put_fields(&writer, spec, fields, LENGTH(fields));
	if (spec->kind == DS_IMAGE_VIT)
	{
		bool room;

		ds_spec_put_key(&writer, "transformer");
		room = writer.length < writer.size;
		writer.length += ds_spec_write(&spec->transformer, room ? out + writer.length : NULL,
									   room ? size - writer.length : 0);
	}
	else
	{
		put_layers(&writer, spec);
		ds_spec_put_modules(&writer, spec->modules, spec->module_count);
	}
	ds_spec_put(&writer, "}");
	return writer.length;
}

static DsCode
read_layers(DsJson array, DsImageSpec *spec, DsStatus *status)
{
	spec->layer_count = 0;
	memset(spec->layers, 0, sizeof(spec->layers));
	if (ds_json_kind(array) != DS_JSON_ARRAY)
		REFUSE("image: wrong value of \"layers\"");
	for (DsJsonItem item = ds_json_items(array); ds_json_next(&item);)
	{
		DsImageLayer *layer;

		if (spec->layer_count == DS_IMAGE_LAYERS)
			REFUSE("image: more than %d layers", DS_IMAGE_LAYERS);
		layer = &spec->layers[spec->layer_count++];
		if (ds_json_kind(item.value) != DS_JSON_OBJECT)
			REFUSE("image: wrong value of \"layers\"");
		for (DsJsonItem member = ds_json_items(item.value); ds_json_next(&member);)
		{
			DsCode code = ds_spec_read_member(layer, layer_fields, LENGTH(layer_fields), member,
											  "image", status);

			if (code != DS_OK)
				return code;
		}
	}
	return DS_OK;
}

DsCode
ds_image_spec_read(DsJson object, DsImageSpec *spec, DsStatus *status)
{
	int64_t version = 0;

	ds_image_spec_init(spec, 0);
	if (ds_json_kind(object) != DS_JSON_OBJECT)
		REFUSE("image: the description is not a JSON object");
	for (DsJsonItem item = ds_json_items(object); ds_json_next(&item);)
	{
		bool known;
		DsCode code = ds_spec_read_common(item, &version, spec->family, sizeof(spec->family),
										  "image", &known, status);

		if (!known && ds_json_string_is(item.key, "layers"))
			code = read_layers(item.value, spec, status);
		else if (!known && ds_json_string_is(item.key, "modules"))
			code = ds_spec_read_modules(item.value, spec->modules, &spec->module_count, "image",
										status);
		else if (!known && ds_json_string_is(item.key, "transformer"))
			code = ds_spec_read(item.value, &spec->transformer, status);
		else if (!known)
			code = ds_spec_read_member(spec, fields, LENGTH(fields), item, "image", status);
		if (code != DS_OK)
			return code;
	}
	if (version != DS_IMAGE_SPEC_VERSION)
		REFUSE("image: description of version %lld", (long long) version);
	return ds_image_spec_check(spec, status);
}
