/*
 * fields.c
 *		JSON objects read, checked and written by tables of fields.
 */
#include "model/fields.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "nn/training.h"

/* ---- errors ---- */

static char *
join_path(const char *path, const char *key)
{
	return path[0] == '\0' ? pstrdup(key) : psprintf("%s.%s", path, key);
}

static void
unknown_key(const char *what, const char *path, const char *key, const Field *fields)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (const Field *field = fields; field->key != NULL; field++)
		appendStringInfo(&valid, "%s%s", field == fields ? "" : ", ", field->key);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown %s \"%s\"", what, join_path(path, key)),
					path[0] == '\0' ? errhint("Valid keys are: %s.", valid.data)
									: errhint("Valid keys of \"%s\" are: %s.", path, valid.data)));
}

static char *
number_text(double x)
{
	return float8out_internal(x);
}

static void
wrong_value(const char *what, const char *path, const Field *field)
{
	const char *expected = NULL;
	StringInfoData text;

	initStringInfo(&text);
	switch (field->type)
	{
		case FIELD_BOOL:
		case FIELD_FLAG:
			expected = "true or false";
			break;
		case FIELD_UINT32:
		case FIELD_UINT64:
			expected = psprintf("an integer from " INT64_FORMAT " to " INT64_FORMAT,
								(int64) field->min, (int64) field->max);
			break;
		case FIELD_REAL:
			expected = psprintf("a number %s %s and %s %s",
								field->above_min ? ">" : ">=", number_text(field->min),
								field->below_max ? "<" : "<=", number_text(field->max));
			break;
		case FIELD_CHOICE:
			for (int i = 0; field->choices[i] != NULL; i++)
				if (field->choices[i][0] != '\0')
					appendStringInfo(&text, "%s\"%s\"", text.len == 0 ? "" : " or ",
									 field->choices[i]);
			expected = text.data;
			break;
		case FIELD_TEXT:
			expected = "a string";
			break;
		case FIELD_WIDTHS:
			expected = psprintf("an array of at most %d integers from 1 to %d", DS_DENSE_MAX,
								DS_WIDTH_MAX);
			break;
		case FIELD_SIZES:
			expected = psprintf("an array of at most %d integers from 1 to %d", DS_MATRYOSHKA_MAX,
								DS_WIDTH_MAX);
			break;
		case FIELD_FREEZE:
			expected = "a string or an array of strings, names of towers or parameters";
			break;
		case FIELD_RATES:
			expected = "an object of numbers from 0 to 1000 by names of towers or parameters";
			break;
		case FIELD_OBJECT:
		case FIELD_CUSTOM:
			expected = "an object";
			break;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s \"%s\" must be %s", what, path, expected)));
}

/* ---- reading ---- */

static bool
read_number(const JsonbValue *value, double *number)
{
	if (value->type != jbvNumeric)
		return false;
	*number = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	return true;
}

static bool
in_limits(const Field *field, double number)
{
	if (isnan(number) || number < field->min || number > field->max)
		return false;
	if ((field->above_min && number == field->min) || (field->below_max && number == field->max))
		return false;
	return field->type == FIELD_REAL || number == floor(number);
}

static bool
read_widths(const JsonbValue *value, const Field *field, DsTowerConfig *tower)
{
	JsonbContainer *array;
	uint32 count;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerIsScalar(value->val.binary.data))
		return false;
	array = value->val.binary.data;
	count = JsonContainerSize(array);
	if (count > DS_DENSE_MAX)
		return false;
	for (uint32 i = 0; i < count; i++)
	{
		JsonbValue *width = getIthJsonbValueFromContainer(array, i);
		double number;

		if (!read_number(width, &number) || !in_limits(field, number))
			return false;
		tower->dense[i] = (uint32) number;
	}
	tower->dense_count = count;
	return true;
}

static bool
read_sizes(const JsonbValue *value, const Field *field, DsTrainConfig *train)
{
	JsonbContainer *array;
	uint32 count;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return false;
	array = value->val.binary.data;
	count = JsonContainerSize(array);
	if (count > DS_MATRYOSHKA_MAX)
		return false;
	for (uint32 i = 0; i < count; i++)
	{
		double number;

		if (!read_number(getIthJsonbValueFromContainer(array, i), &number) ||
			!in_limits(field, number))
			return false;
		train->matryoshka[i] = (uint32) number;
		train->matryoshka_weight[i] = 1;
	}
	train->matryoshka_count = count;
	return true;
}

/* ---- rules of rates ---- */

static void
drop_rules(DsTrainConfig *train, bool frozen)
{
	uint32 left = 0;

	for (uint32 i = 0; i < train->rule_count; i++)
		if ((train->rules[i].factor == 0) != frozen)
			train->rules[left++] = train->rules[i];
	train->rule_count = left;
}

static bool
add_rule(DsTrainConfig *train, const JsonbValue *name, double factor)
{
	DsRateRule *rule = &train->rules[train->rule_count];

	if (name->type != jbvString || name->val.string.len < 1 ||
		(size_t) name->val.string.len >= sizeof(rule->prefix) || train->rule_count == DS_RULES_MAX)
		return false;
	memcpy(rule->prefix, name->val.string.val, (size_t) name->val.string.len);
	rule->prefix[name->val.string.len] = '\0';
	rule->factor = factor;
	train->rule_count++;
	return true;
}

static bool
read_freeze(const JsonbValue *value, DsTrainConfig *train)
{
	drop_rules(train, true);
	if (value->type == jbvNull)
		return true;
	if (value->type == jbvString)
		return add_rule(train, value, 0);
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return false;
	for (uint32 i = 0; i < JsonContainerSize(value->val.binary.data); i++)
		if (!add_rule(train, getIthJsonbValueFromContainer(value->val.binary.data, i), 0))
			return false;
	return true;
}

/* A factor of 0 freezes here too. */
static bool
read_rates(const JsonbValue *value, DsTrainConfig *train)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue part;
	JsonbValue name = {.type = jbvNull};
	double factor;

	drop_rules(train, false);
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return false;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &part, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = part;
		else if (token == WJB_VALUE &&
				 (!read_number(&part, &factor) || isnan(factor) || factor < 0 || factor > 1000 ||
				  !add_rule(train, &name, factor)))
			return false;
	}
	return true;
}

static void
write_rules(StringInfo out, const DsTrainConfig *train, bool frozen)
{
	bool first = true;

	appendStringInfoChar(out, frozen ? '[' : '{');
	for (uint32 i = 0; i < train->rule_count; i++)
	{
		const DsRateRule *rule = &train->rules[i];

		if ((rule->factor == 0) != frozen)
			continue;
		if (!first)
			appendStringInfoString(out, ", ");
		first = false;
		escape_json(out, rule->prefix);
		if (!frozen)
			appendStringInfo(out, ": %s", number_text(rule->factor));
	}
	appendStringInfoChar(out, frozen ? ']' : '}');
}

static void
read_field(const JsonbValue *value, const char *what, const char *path, const Field *field,
		   void *base)
{
	char *place = (char *) base + field->offset;
	double number;
	bool good = false;

	switch (field->type)
	{
		case FIELD_BOOL:
			good = value->type == jbvBool;
			if (good)
				*(bool *) place = value->val.boolean;
			break;
		case FIELD_FLAG:
			good = value->type == jbvBool;
			if (good)
				*(int *) place = value->val.boolean;
			break;
		case FIELD_UINT32:
			good = read_number(value, &number) && in_limits(field, number);
			if (good)
				*(uint32 *) place = (uint32) number;
			break;
		case FIELD_UINT64:
			good = read_number(value, &number) && in_limits(field, number);
			if (good)
				*(uint64 *) place = (uint64) number;
			break;
		case FIELD_REAL:
			good = read_number(value, &number) && in_limits(field, number);
			if (good)
				*(double *) place = number;
			break;
		case FIELD_CHOICE:
			if (value->type != jbvString)
				break;
			for (int i = 0; field->choices[i] != NULL && !good; i++)
			{
				size_t length = strlen(field->choices[i]);

				if (length > 0 && length == (size_t) value->val.string.len &&
					memcmp(field->choices[i], value->val.string.val, length) == 0)
				{
					*(int *) place = i;
					good = true;
				}
			}
			break;
		case FIELD_TEXT:
			good = value->type == jbvString || value->type == jbvNull;
			if (good)
				*(char **) place = value->type == jbvNull
									   ? NULL
									   : pnstrdup(value->val.string.val, value->val.string.len);
			break;
		case FIELD_SIZES:
			good = read_sizes(value, field, (DsTrainConfig *) place);
			break;
		case FIELD_FREEZE:
			good = read_freeze(value, (DsTrainConfig *) place);
			break;
		case FIELD_RATES:
			good = read_rates(value, (DsTrainConfig *) place);
			break;
		case FIELD_WIDTHS:
			good = read_widths(value, field, (DsTowerConfig *) place);
			break;
		case FIELD_OBJECT:
			good = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
			if (good)
				ds_fields_read_object(value->val.binary.data, what, path, field->fields, place);
			break;
		case FIELD_CUSTOM:
			good = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
			break;
	}
	if (!good)
		wrong_value(what, path, field);
}

void
ds_fields_read_object(JsonbContainer *object, const char *what, const char *path,
					  const Field *fields, void *base)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue value;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			const Field *field = fields;

			while (field->key != NULL && strcmp(field->key, key) != 0)
				field++;
			if (field->key == NULL)
				unknown_key(what, path, key, fields);
			read_field(&value, what, join_path(path, key), field, base);
		}
	}
}

void
ds_fields_read(Jsonb *json, const char *whole, const char *what, const Field *fields, void *base)
{
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object", whole)));
	ds_fields_read_object(&json->root, what, "", fields, base);
}

/* The container of an object under a key of the root, or NULL */
JsonbContainer *
ds_fields_find_object(Jsonb *json, const char *key)
{
	JsonbValue place;
	JsonbValue *value;

	value = getKeyJsonValueFromContainer(&json->root, key, strlen(key), &place);
	if (value == NULL || value->type != jbvBinary)
		return NULL;
	return value->val.binary.data;
}

/* ---- writing ---- */

void
ds_fields_write(StringInfo out, const Field *fields, const void *base, bool *first)
{
	for (const Field *field = fields; field->key != NULL; field++)
	{
		const char *place = (const char *) base + field->offset;

		if (field->type == FIELD_CUSTOM)
			continue;
		if (!*first)
			appendStringInfoString(out, ", ");
		*first = false;
		escape_json(out, field->key);
		appendStringInfoString(out, ": ");
		switch (field->type)
		{
			case FIELD_BOOL:
				appendStringInfoString(out, *(const bool *) place ? "true" : "false");
				break;
			case FIELD_FLAG:
				appendStringInfoString(out, *(const int *) place != 0 ? "true" : "false");
				break;
			case FIELD_UINT32:
				appendStringInfo(out, "%u", *(const uint32 *) place);
				break;
			case FIELD_UINT64:
				appendStringInfo(out, UINT64_FORMAT, *(const uint64 *) place);
				break;
			case FIELD_REAL:
				appendStringInfoString(out, number_text(*(const double *) place));
				break;
			case FIELD_CHOICE:
				escape_json(out, field->choices[*(const int *) place]);
				break;
			case FIELD_TEXT:
				if (*(char *const *) place == NULL)
					appendStringInfoString(out, "null");
				else
					escape_json(out, *(char *const *) place);
				break;
			case FIELD_SIZES:
			{
				const DsTrainConfig *train = (const DsTrainConfig *) place;

				appendStringInfoChar(out, '[');
				for (uint32 i = 0; i < train->matryoshka_count; i++)
					appendStringInfo(out, "%s%u", i > 0 ? ", " : "", train->matryoshka[i]);
				appendStringInfoChar(out, ']');
				break;
			}
			case FIELD_FREEZE:
			case FIELD_RATES:
				write_rules(out, (const DsTrainConfig *) place, field->type == FIELD_FREEZE);
				break;
			case FIELD_WIDTHS:
			{
				const DsTowerConfig *tower = (const DsTowerConfig *) place;

				appendStringInfoChar(out, '[');
				for (uint32 i = 0; i < tower->dense_count; i++)
					appendStringInfo(out, "%s%u", i > 0 ? ", " : "", tower->dense[i]);
				appendStringInfoChar(out, ']');
				break;
			}
			case FIELD_OBJECT:
			{
				bool nested = true;

				appendStringInfoChar(out, '{');
				ds_fields_write(out, field->fields, place, &nested);
				appendStringInfoChar(out, '}');
				break;
			}
			case FIELD_CUSTOM:
				break;
		}
	}
}

Jsonb *
ds_fields_finish(StringInfo out)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out->data)));
}
