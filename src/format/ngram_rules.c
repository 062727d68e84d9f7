/*
 * ngram_rules.c
 *		A tokenizer of overlapping n-grams as data that other programs can follow.
 */
#include "format/ngram_rules.h"

#include "text/unicode.h"

static const char *
flag(bool value)
{
	return value ? "true" : "false";
}

static void
write_width(DsBuffer *out)
{
	static const uint32_t parts[2][2] = {{0x3000, 0x3000}, {0xFF01, 0xFFEE}};
	const char *comma = "";

	ds_buffer_text(out, "  \"width\": [");
	for (int i = 0; i < 2; i++)
		for (uint32_t c = parts[i][0], first; c <= parts[i][1]; c++)
		{
			int64_t delta = (int64_t) ds_fold_width(c) - c;

			first = c;
			while (c < parts[i][1] && (int64_t) ds_fold_width(c + 1) - (c + 1) == delta)
				c++;
			if (delta == 0)
				continue;
			ds_buffer_printf(out, "%s[%u,%u,%lld]", comma, first, c, (long long) delta);
			comma = ",";
		}
	ds_buffer_text(out, "],\n  \"voiced\": [");
	comma = "";
	for (uint32_t c = 0xFF66; c <= 0xFF9D; c++)
		for (uint32_t mark = 0xFF9E; mark <= 0xFF9F; mark++)
			if (ds_join_voiced(c, mark) != 0)
			{
				ds_buffer_printf(out, "%s[%u,%u,%u]", comma, c, mark, ds_join_voiced(c, mark));
				comma = ",";
			}
	ds_buffer_text(out, "],\n");
}

static void
write_characters(DsBuffer *out)
{
	ds_buffer_text(out, "  \"fold\": [[65,90,1,32]");
	for (size_t i = 0; i < ds_fold_range_count; i++)
		ds_buffer_printf(out, ",[%u,%u,%u,%d]", ds_fold_ranges[i].first, ds_fold_ranges[i].last,
						 ds_fold_ranges[i].stride, ds_fold_ranges[i].delta);
	ds_buffer_text(out, "],\n  \"classes\": [");
	for (size_t i = 0; i < ds_class_range_count; i++)
		ds_buffer_printf(out, "%s[%u,%u]", i > 0 ? "," : "", ds_class_ranges[i] >> 3,
						 ds_class_ranges[i] & 7);
	ds_buffer_text(out, "]");
}

static void
write_entities(DsBuffer *out)
{
	const char *name;
	uint32_t c;

	ds_buffer_text(out, ",\n  \"entities\": {");
	for (size_t i = 0; (name = ds_clean_entity(i, &c)) != NULL; i++)
		ds_buffer_printf(out, "%s\"%s\":%u", i > 0 ? "," : "", name, c);
	ds_buffer_text(out, "}");
}

DsCode
ds_ngram_rules(const DsTokenizer *tokenizer, const void *blob, size_t size, const char *json,
			   const char *bin, DsPlan *plan, DsStatus *status)
{
	const DsTokenizerConfig *config = &tokenizer->config;
	const DsCleanOptions *clean = &config->clean;
	DsPlanFile *file = NULL;
	DsBuffer out;
	DsCode code;

	ds_buffer_init(&out, plan->arena);
	ds_buffer_printf(&out,
					 "{\n  \"format\": \"deepsearch n-grams, version 1\",\n  \"max_tokens\": %u,\n"
					 "  \"words\": %s,\n  \"word\": [%u, %u],\n  \"spaceless\": [%u, %u],\n",
					 config->max_tokens, flag(config->words), config->word_min, config->word_max,
					 config->cjk_min, config->cjk_max);
	ds_buffer_printf(&out,
					 "  \"cleaning\": {\"fold_width\": %s, \"fold_case\": %s, \"strip_controls\": "
					 "%s, \"collapse_space\": %s, \"strip_html\": %s},\n",
					 flag(clean->fold_width), flag(clean->fold_case), flag(clean->strip_controls),
					 flag(clean->collapse_space), flag(clean->strip_html));
	ds_buffer_printf(&out,
					 "  \"learned\": %u,\n  \"buckets\": %u,\n"
					 "  \"slots\": {\"file\": \"%s\", \"offset\": %zu, \"count\": %u},\n",
					 tokenizer->learned, config->buckets, bin,
					 (size_t) (tokenizer->slots - (const unsigned char *) blob),
					 tokenizer->slot_mask + 1);
	write_width(&out);
	write_characters(&out);
	if (clean->strip_html)
		write_entities(&out);
	ds_buffer_text(&out, "\n}\n");
	code = ds_plan_text(plan, json, &out, status);
	if (code == DS_OK)
		code = ds_plan_begin(plan, bin, &file, status);
	return code == DS_OK ? ds_plan_bytes(plan, file, blob, size, status) : code;
}
