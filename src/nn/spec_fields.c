/*
 * spec_fields.c
 *		Checking, writing and reading the fields of a network's description, and
 *		the modules behind it.
 */
#include "nn/spec_fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define REFUSE(...) return ds_fail(status, DS_INVALID, __VA_ARGS__)

const char *const ds_activation_words[DS_ACTIVATIONS] = {
	"identity", "gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "tanh", "sigmoid"};
static const char *const module_kinds[] = {NULL, "dense", "norm", "normalize", "slice"};

static const DsField module_fields[] = {
	DS_FIELD(DsSpecModule, in, NUMBER, 1 << 20),
	DS_FIELD(DsSpecModule, out, NUMBER, 1 << 20),
	DS_WORD_FIELD(DsSpecModule, activation, ds_activation_words),
	DS_FIELD(DsSpecModule, bias, FLAG, 1),
	DS_FIELD(DsSpecModule, epsilon, REAL, 0),
};

const char *
ds_activation_name(uint32_t activation)
{
	return activation < DS_ACTIVATIONS ? ds_activation_words[activation] : NULL;
}

static uint32_t
get_number(const void *base, const DsField *field)
{
	uint32_t value;

	memcpy(&value, (const char *) base + field->offset, sizeof(value));
	return value;
}

static float
get_real(const void *base, const DsField *field)
{
	float value;

	memcpy(&value, (const char *) base + field->offset, sizeof(value));
	return value;
}

DsCode
ds_fields_check(const void *base, const DsField *list, size_t count, const char *what,
				DsStatus *status)
{
	for (size_t i = 0; i < count; i++)
	{
		const DsField *field = &list[i];

		if (field->kind == DS_FIELD_REAL)
		{
			float value = get_real(base, field);

			if (!isfinite(value) || value < 0)
				REFUSE("%s: %s must be a finite number, not negative", what, field->name);
		}
		else if (field->kind != DS_FIELD_ID && get_number(base, field) > field->most)
			REFUSE("%s: %s is %u, the most is %u", what, field->name, get_number(base, field),
				   field->most);
	}
	return DS_OK;
}

DsCode
ds_spec_check_family(const char *family, size_t size, const char *what, DsStatus *status)
{
	if (memchr(family, 0, size) == NULL)
		REFUSE("%s: the family's name is too long", what);
	for (const char *p = family; *p != 0; p++)
		if (*p < 0x20 || *p > 0x7e || *p == '"' || *p == '\\')
			REFUSE("%s: the family's name must be plain ASCII", what);
	return DS_OK;
}

DsCode
ds_spec_check_modules(const DsSpecModule *modules, uint32_t count, size_t dims, const char *what,
					  DsStatus *status)
{
	char part[64];

	snprintf(part, sizeof(part), "%s: module", what);
	if (count > DS_SPEC_MODULES)
		REFUSE("%s: %u modules, the most is %d", what, count, DS_SPEC_MODULES);
	for (uint32_t m = 0; m < count; m++)
	{
		const DsSpecModule *module = &modules[m];
		DsCode code = ds_fields_check(module, module_fields, LENGTH(module_fields), part, status);

		if (code != DS_OK)
			return code;
		if (module->kind < DS_MODULE_DENSE || module->kind > DS_MODULE_SLICE)
			REFUSE("%s: module %u is of unknown kind %u", what, m, module->kind);
		if (module->in != dims || module->out == 0 || module->out > DS_SPEC_MAX_HIDDEN)
			REFUSE("%s: module %u goes from %u to %u, what comes before it has %zu components",
				   what, m, module->in, module->out, dims);
		if ((module->kind == DS_MODULE_NORM || module->kind == DS_MODULE_NORMALIZE) &&
			module->out != module->in)
			REFUSE("%s: module %u changes the number of components", what, m);
		if (module->kind == DS_MODULE_NORM && !(module->epsilon > 0))
			REFUSE("%s: module %u needs a positive epsilon", what, m);
		if (module->kind == DS_MODULE_SLICE && module->out > module->in)
			REFUSE("%s: module %u takes %u of %u components", what, m, module->out, module->in);
		dims = module->out;
	}
	if (dims > DS_SPEC_MAX_HIDDEN)
		REFUSE("%s: the result has %zu components, the most is %d", what, dims, DS_SPEC_MAX_HIDDEN);
	return DS_OK;
}

/* ---- writing ---- */

void
ds_spec_put(DsSpecWriter *writer, const char *format, ...)
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

void
ds_spec_put_key(DsSpecWriter *writer, const char *name)
{
	ds_spec_put(writer, "%s\"%s\": ", writer->first ? "" : ", ", name);
	writer->first = false;
}

static void
put_set(DsSpecWriter *writer, const DsField *field, uint32_t set)
{
	bool first = true;

	ds_spec_put(writer, "[");
	for (size_t i = 0; field->most >> i != 0; i++)
		if (set & (1u << i))
		{
			ds_spec_put(writer, "%s\"%s\"", first ? "" : ", ", field->words[i]);
			first = false;
		}
	ds_spec_put(writer, "]");
}

void
ds_spec_put_fields(DsSpecWriter *writer, const void *base, const DsField *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		const DsField *field = &list[i];
		uint32_t number = get_number(base, field);

		if (field->kind == DS_FIELD_ID ? number == DS_SPEC_NO_ID : number == 0)
			continue;
		ds_spec_put_key(writer, field->name);
		switch (field->kind)
		{
			case DS_FIELD_NUMBER:
			case DS_FIELD_ID:
				ds_spec_put(writer, "%u", number);
				break;
			case DS_FIELD_FLAG:
				ds_spec_put(writer, "true");
				break;
			case DS_FIELD_REAL:
				ds_spec_put(writer, "%.9g", (double) get_real(base, field));
				break;
			case DS_FIELD_WORD:
				ds_spec_put(writer, "\"%s\"", field->words[number]);
				break;
			case DS_FIELD_SET:
				put_set(writer, field, number);
				break;
		}
	}
}

void
ds_spec_put_modules(DsSpecWriter *writer, const DsSpecModule *modules, uint32_t count)
{
	if (count == 0)
		return;
	ds_spec_put_key(writer, "modules");
	ds_spec_put(writer, "[");
	for (uint32_t m = 0; m < count; m++)
	{
		ds_spec_put(writer, "%s{\"kind\": \"%s\"", m > 0 ? ", " : "",
					module_kinds[modules[m].kind]);
		ds_spec_put_fields(writer, &modules[m], module_fields, LENGTH(module_fields));
		ds_spec_put(writer, "}");
	}
	ds_spec_put(writer, "]");
}

/* ---- reading ---- */

int
ds_spec_word(DsJson value, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] != NULL && ds_json_string_is(value, list[i]))
			return (int) i;
	return -1;
}

static bool
read_value(const DsField *field, DsJson value, uint32_t *number)
{
	int64_t integer;
	double real;
	float single;
	bool flag;
	int index;

	switch (field->kind)
	{
		case DS_FIELD_NUMBER:
		case DS_FIELD_ID:
			if (!ds_json_integer(value, &integer) || integer < 0 || integer > UINT32_MAX)
				return false;
			*number = (uint32_t) integer;
			return true;
		case DS_FIELD_FLAG:
			if (!ds_json_bool(value, &flag))
				return false;
			*number = flag;
			return true;
		case DS_FIELD_REAL:
			if (!ds_json_double(value, &real) || !(fabs(real) <= 1e30))
				return false;
			single = (float) real;
			memcpy(number, &single, sizeof(single));
			return true;
		case DS_FIELD_WORD:
			index = ds_spec_word(value, field->words, (size_t) field->most + 1);
			*number = (uint32_t) index;
			return index >= 0;
		case DS_FIELD_SET:
			if (ds_json_kind(value) != DS_JSON_ARRAY)
				return false;
			*number = 0;
			for (DsJsonItem item = ds_json_items(value); ds_json_next(&item);)
			{
				index = ds_spec_word(item.value, field->words,
									 (size_t) __builtin_popcount(field->most));
				if (index < 0)
					return false;
				*number |= 1u << index;
			}
			return true;
	}
	return false;
}

DsCode
ds_spec_refuse_key(DsJson key, const char *what, const char *why, DsStatus *status)
{
	/* a JSON string as it stands, cut short */
	size_t length = (size_t) (ds_json_skip(key) - key.at);

	return ds_fail(status, DS_INVALID, "%s: %s %.*s", what, why, (int) (length < 80 ? length : 80),
				   key.at);
}

DsCode
ds_spec_read_member(void *base, const DsField *list, size_t count, DsJsonItem item,
					const char *what, DsStatus *status)
{
	for (size_t i = 0; i < count; i++)
		if (ds_json_string_is(item.key, list[i].name))
		{
			uint32_t number;

			if (!read_value(&list[i], item.value, &number))
				return ds_spec_refuse_key(item.key, what, "wrong value of", status);
			memcpy((char *) base + list[i].offset, &number, sizeof(number));
			return DS_OK;
		}
	return ds_spec_refuse_key(item.key, what, "unknown key", status);
}

DsCode
ds_spec_read_common(DsJsonItem item, int64_t *version, char *family, size_t size, const char *what,
					bool *known, DsStatus *status)
{
	*known = true;
	if (ds_json_string_is(item.key, "version"))
	{
		if (!ds_json_integer(item.value, version))
			return ds_spec_refuse_key(item.key, what, "wrong value of", status);
	}
	else if (ds_json_string_is(item.key, "family"))
	{
		memset(family, 0, size);
		if (ds_json_kind(item.value) != DS_JSON_STRING || ds_json_string_size(item.value) >= size)
			return ds_spec_refuse_key(item.key, what, "wrong value of", status);
		ds_json_string_copy(item.value, family);
	}
	else
		*known = false;
	return DS_OK;
}

DsCode
ds_spec_read_modules(DsJson array, DsSpecModule *modules, uint32_t *count, const char *what,
					 DsStatus *status)
{
	*count = 0;
	memset(modules, 0, DS_SPEC_MODULES * sizeof(*modules));
	if (ds_json_kind(array) != DS_JSON_ARRAY)
		REFUSE("%s: wrong value of \"modules\"", what);
	for (DsJsonItem item = ds_json_items(array); ds_json_next(&item);)
	{
		DsSpecModule *module;
		int kind =
			ds_spec_word(ds_json_member(item.value, "kind"), module_kinds, LENGTH(module_kinds));

		if (*count == DS_SPEC_MODULES || kind < 0)
			REFUSE("%s: too many modules, or one of unknown kind", what);
		module = &modules[(*count)++];
		module->kind = (uint32_t) kind;
		for (DsJsonItem member = ds_json_items(item.value); ds_json_next(&member);)
		{
			DsCode code;

			if (ds_json_string_is(member.key, "kind"))
				continue;
			code = ds_spec_read_member(module, module_fields, LENGTH(module_fields), member, what,
									   status);
			if (code != DS_OK)
				return code;
		}
	}
	return DS_OK;
}
