/*
 * subword_template.c
 *		Compiling the post-processor of a tokenizer.json: what is put around one
 *		text, and around a pair of texts.
 */
#include "text/subword_compile.h"

static bool
add_part(Compiler *c, bool pair, uint32_t what, uint32_t id, uint32_t type)
{
	uint32_t *count = &c->header[pair ? AT_PAIR : AT_SINGLE];

	if (++*count > PARTS_MAX)
		return compile_fail(c, DS_UNSUPPORTED, "a template of more than %d parts", PARTS_MAX);
	return compile_add_word(c, SECTION_TEMPLATE, what) &&
		   compile_add_word(c, SECTION_TEMPLATE, id) && compile_add_word(c, SECTION_TEMPLATE, type);
}

/* first A second, and first A second B second; RoBERTa has second twice between, and types of 0 */
bool
compile_around(Compiler *c, uint32_t first, uint32_t second, bool roberta)
{
	uint32_t type = roberta ? 0 : 1;

	return add_part(c, false, PART_TOKEN, first, 0) && add_part(c, false, PART_FIRST, 0, 0) &&
		   add_part(c, false, PART_TOKEN, second, 0) && add_part(c, true, PART_TOKEN, first, 0) &&
		   add_part(c, true, PART_FIRST, 0, 0) && add_part(c, true, PART_TOKEN, second, 0) &&
		   (!roberta || add_part(c, true, PART_TOKEN, second, 0)) &&
		   add_part(c, true, PART_SECOND, 0, type) && add_part(c, true, PART_TOKEN, second, type);
}

/* ["[SEP]", 102] */
static bool
read_pair(Compiler *c, DsJson value, const char *what, uint32_t *id)
{
	DsJsonItem item = ds_json_items(value);

	*id = DS_SUBWORD_NONE;
	if (ds_json_next(&item) && ds_json_next(&item) &&
		!compile_number(c, item.value, what, c->vocabulary - 1, DS_SUBWORD_NONE, id))
		return false;
	return *id != DS_SUBWORD_NONE ||
		   compile_fail(c, DS_BAD_DATA, "%s of the post-processor has no id", what);
}

/*
 * One part of a template: {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": ...}.
 * seen: bits of the sequences before it.  Each may come once, because a text is cut to what a
 * template leaves of the most tokens.
 */
static bool
compile_part(Compiler *c, DsJson part, DsJson special_tokens, bool pair, unsigned *seen)
{
	DsJson sequence;
	DsJson special;
	DsJsonWanted wanted[] = {{"Sequence", &sequence}, {"SpecialToken", &special}};
	DsJson id_value;
	DsJson type_value;
	DsJsonWanted members[] = {{"id", &id_value}, {"type_id", &type_value}};
	uint32_t type;
	String name;
	bool found = false;

	ds_json_members(part, wanted, 2);
	ds_json_members(ds_json_kind(sequence) == DS_JSON_OBJECT ? sequence : special, members, 2);
	if (!compile_number(c, type_value, "type_id of the template", 1, 0, &type))
		return false;
	if (ds_json_kind(sequence) == DS_JSON_OBJECT)
	{
		bool second = ds_json_string_is(id_value, "B");

		if ((second && !pair) || (!second && !ds_json_string_is(id_value, "A")))
			return compile_fail(c, DS_BAD_DATA,
								"the template has a sequence that is neither A nor B");
		if (*seen & 1u << second)
			return compile_fail(c, DS_UNSUPPORTED, "a template that has a sequence twice");
		*seen |= 1u << second;
		return add_part(c, pair, second ? PART_SECOND : PART_FIRST, 0, type);
	}
	if (!compile_string(c, id_value, "id in the template", &name))
		return false;
	/* the name stands for one or more ids */
	for (DsJsonItem item = ds_json_items(special_tokens); ds_json_next(&item);)
	{
		char key[256];
		size_t length;
		uint32_t id;

		if (ds_json_string_size(item.key) >= sizeof(key))
			continue;
		length = ds_json_string_copy(item.key, key);
		key[length] = 0;
		if (length != name.length || !ds_json_string_is(id_value, key))
			continue;
		found = true;
		for (DsJsonItem ids = ds_json_items(ds_json_member(item.value, "ids")); ds_json_next(&ids);)
			if (!compile_number(c, ids.value, "id of a special token", c->vocabulary - 1, 0, &id) ||
				!add_part(c, pair, PART_TOKEN, id, type))
				return false;
	}
	return found || compile_fail(c, DS_BAD_DATA, "the template has an unknown token \"%.*s\"",
								 (int) (name.length < 64 ? name.length : 64), name.bytes);
}

static bool
compile_template(Compiler *c, DsJson processor)
{
	DsJson single;
	DsJson pair;
	DsJson special;
	unsigned seen = 0;
	DsJsonWanted wanted[] = {{"single", &single}, {"pair", &pair}, {"special_tokens", &special}};

	ds_json_members(processor, wanted, 3);
	if (ds_json_kind(single) != DS_JSON_ARRAY || ds_json_kind(pair) != DS_JSON_ARRAY)
		return compile_fail(c, DS_UNSUPPORTED, "a template that is not a list");
	for (DsJsonItem item = ds_json_items(single); ds_json_next(&item);)
		if (!compile_part(c, item.value, special, false, &seen))
			return false;
	seen = 0;
	for (DsJsonItem item = ds_json_items(pair); ds_json_next(&item);)
		if (!compile_part(c, item.value, special, true, &seen))
			return false;
	return true;
}

/* one processor; *done when it has said what goes around a text */
static bool
compile_one(Compiler *c, DsJson processor, bool *done)
{
	DsJson type = ds_json_member(processor, "type");
	bool roberta = ds_json_string_is(type, "RobertaProcessing");
	char name[64];
	uint32_t cls;
	uint32_t sep;

	/* ByteLevel only moves offsets */
	if (ds_json_string_is(type, "ByteLevel"))
		return true;
	if (*done)
		return compile_fail(c, DS_UNSUPPORTED, "a sequence of post-processors that add tokens");
	*done = true;
	if (ds_json_string_is(type, "TemplateProcessing"))
		return compile_template(c, processor);
	if (roberta || ds_json_string_is(type, "BertProcessing"))
		return read_pair(c, ds_json_member(processor, "cls"), "cls", &cls) &&
			   read_pair(c, ds_json_member(processor, "sep"), "sep", &sep) &&
			   compile_around(c, cls, sep, roberta);
	return compile_fail(c, DS_UNSUPPORTED, "post-processor %s is not supported",
						compile_type(processor, name, sizeof(name)));
}

bool
compile_processor(Compiler *c, DsJson processor)
{
	bool done = false;

	if (ds_json_kind(processor) == DS_JSON_OBJECT)
	{
		if (!ds_json_string_is(ds_json_member(processor, "type"), "Sequence"))
		{
			if (!compile_one(c, processor, &done))
				return false;
		}
		else
			for (DsJsonItem item = ds_json_items(ds_json_member(processor, "processors"));
				 ds_json_next(&item);)
				if (!compile_one(c, item.value, &done))
					return false;
	}
	if (done)
		return true;
	/* nothing around them */
	return add_part(c, false, PART_FIRST, 0, 0) && add_part(c, true, PART_FIRST, 0, 0) &&
		   add_part(c, true, PART_SECOND, 0, 1);
}
