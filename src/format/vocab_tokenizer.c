/*
 * vocab_tokenizer.c
 *		A vocab.txt as the tokenizer.json that does the same.
 */
#include <inttypes.h>
#include <string.h>

#include "format/encoder_folder.h"

#define SPECIALS 5

static const char *const specials[SPECIALS] = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"};

static void
put_template(DsBuffer *out, const int64_t ids[SPECIALS])
{
	ds_buffer_text(
		out,
		"{\"type\":\"TemplateProcessing\",\"single\":["
		"{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
		"{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":["
		"{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
		"{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},"
		"{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],\"special_tokens\":{");
	for (int i = 1; i < 3; i++)
		ds_buffer_printf(out, "%s\"%s\":{\"id\":\"%s\",\"ids\":[%" PRId64 "],\"tokens\":[\"%s\"]}",
						 i > 1 ? "," : "", specials[i], specials[i], ids[i], specials[i]);
	ds_buffer_text(out, "}}");
}

DsCode
ds_vocab_tokenizer(const char *vocab, size_t size, const DsVocabOptions *options, DsPlan *plan,
				   const char *name, DsStatus *status)
{
	int64_t ids[SPECIALS] = {-1, -1, -1, -1, -1};
	DsBuffer words, out;
	uint32_t id = 0;

	ds_buffer_init(&words, plan->arena);
	ds_buffer_init(&out, plan->arena);
	for (size_t at = 0; at < size; id++)
	{
		const char *end = memchr(vocab + at, '\n', size - at);
		size_t n = end != NULL ? (size_t) (end - vocab) - at : size - at;
		size_t next = at + n + 1;

		if (n > 0 && vocab[at + n - 1] == '\r')
			n--;
		for (int i = 0; i < SPECIALS; i++)
			if (strlen(specials[i]) == n && memcmp(specials[i], vocab + at, n) == 0)
				ids[i] = id;
		ds_buffer_text(&words, id > 0 ? "," : "");
		ds_buffer_json_bytes(&words, vocab + at, n);
		ds_buffer_printf(&words, ":%u", id);
		at = next;
	}
	ds_buffer_text(&out,
				   "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
	for (uint32_t place = 0, written = 0; place < id; place++)
		for (int i = 0; i < SPECIALS; i++)
			if (ids[i] == place)
				ds_buffer_printf(&out,
								 "%s{\"id\":%u,\"content\":\"%s\",\"single_word\":false,"
								 "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
								 "\"special\":true}",
								 written++ > 0 ? "," : "", place, specials[i]);
	ds_buffer_printf(&out,
					 "],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
					 "\"handle_chinese_chars\":%s,\"strip_accents\":%s,\"lowercase\":%s},"
					 "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":",
					 options->chinese ? "true" : "false",
					 options->strip_accents < 0 ? "null"
					 : options->strip_accents	? "true"
												: "false",
					 options->lowercase ? "true" : "false");
	put_template(&out, ids);
	ds_buffer_text(&out, ",\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
						 "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
						 "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
						 "\"vocab\":{");
	if (!words.failed)
		ds_buffer_put(&out, words.bytes, words.length);
	out.failed |= words.failed;
	ds_buffer_text(&out, "}}}\n");
	return ds_plan_text(plan, name, &out, status);
}
