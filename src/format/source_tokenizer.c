/*
 * source_tokenizer.c
 *		Texts that are made lower-case before the tokenizer sees them.
 *
 * sentence-transformers may do that (do_lower_case of sentence_bert_config.json),
 * whatever the tokenizer does by itself.  The same is said in the tokenizer's
 * own words: a step "Lowercase" before its normalizer.
 */
#include <string.h>

#include "base/json.h"
#include "format/encoder_source.h"

#define STEP "{\"type\":\"Lowercase\"}"
#define OPEN "{\"type\":\"Sequence\",\"normalizers\":[" STEP ","
#define CLOSE "]}"
#define MEMBER "\"normalizer\":" STEP

DsCode
ds_source_tokenizer_text(const DsEncoderSource *source, const char *json, size_t length,
						 DsArena *arena, const char **out, size_t *out_length, DsStatus *status)
{
	DsJson root, normalizer;
	DsJsonItem first;
	const char *before; /* what is put in, around what stood there */
	const char *after;
	size_t begin, end; /* that */
	size_t n = 0;
	char *text;
	DsCode code;

	*out = json;
	*out_length = length;
	if (!source->lowercase || source->vocab)
		return DS_OK;
	code = ds_json_parse(json, length, source->tokenizer_file, &root, status);
	if (code != DS_OK)
		return code;
	if (ds_json_kind(root) != DS_JSON_OBJECT)
		return ds_fail(status, DS_BAD_DATA, "%s is no JSON object", source->tokenizer_file);
	normalizer = ds_json_member(root, "normalizer");
	switch (ds_json_kind(normalizer))
	{
		case DS_JSON_ABSENT:
			begin = end = (size_t) (root.at - json) + 1;
			first = ds_json_items(root);
			before = ds_json_next(&first) ? MEMBER "," : MEMBER;
			after = "";
			break;
		case DS_JSON_NULL:
			begin = (size_t) (normalizer.at - json);
			end = (size_t) (ds_json_skip(normalizer) - json);
			before = STEP;
			after = "";
			/* nothing of the null stays */
			break;
		default:
			begin = (size_t) (normalizer.at - json);
			end = (size_t) (ds_json_skip(normalizer) - json);
			before = OPEN;
			after = CLOSE;
			break;
	}
	text = ds_arena_alloc(arena, length + sizeof(OPEN CLOSE MEMBER), 1);
	if (text == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %s", source->tokenizer_file);
	memcpy(text, json, begin);
	n = begin;
	memcpy(text + n, before, strlen(before));
	n += strlen(before);
	if (ds_json_kind(normalizer) != DS_JSON_NULL)
	{
		memcpy(text + n, json + begin, end - begin);
		n += end - begin;
	}
	memcpy(text + n, after, strlen(after));
	n += strlen(after);
	memcpy(text + n, json + end, length - end);
	n += length - end;
	text[n] = '\0';
	*out = text;
	*out_length = n;
	return DS_OK;
}
