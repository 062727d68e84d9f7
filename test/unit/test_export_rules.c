/*
 * test_export_rules.c
 *		What stands beside an exported graph: the rules of a tokenizer of n-grams, whose
 *		ranges say of every character what the functions say; preprocessor_config.json.
 */
#include <string.h>

#include "base/json.h"
#include "format/image_folder.h"
#include "format/ngram_rules.h"
#include "text/unicode.h"
#include "unit.h"

/* The next array of up to 4 numbers */
static bool
next_range(DsJsonItem *item, int64_t range[4])
{
	int n = 0;

	if (!ds_json_next(item))
		return false;
	memset(range, 0, 4 * sizeof(int64_t));
	for (DsJsonItem number = ds_json_items(item->value); n < 4 && ds_json_next(&number); n++)
		(void) ds_json_integer(number.value, &range[n]);
	return n >= 2;
}

static void
test_rules(bool html)
{
	static const char *const texts[] = {"red dress", "red shoes", "夏季连衣裙", "夏季 red"};
	DsTokenizerConfig config = ds_tokenizer_defaults;
	DsTokenizerLearner *learner;
	DsTokenizer tokenizer;
	DsPlan plan;
	DsArena arena;
	DsStatus status;
	DsJson root = {0};
	const DsPlanFile *file;
	void *blob;
	size_t size;
	int64_t range[4];
	size_t wrong = 0;
	uint32_t c;

	ds_arena_init(&arena, NULL);
	config.learn_memory = 1 << 20;
	config.clean.strip_html = html;
	CHECK(ds_tokenizer_learn_begin(&config, &arena, &learner, &status) == DS_OK, "%s",
		  status.message);
	for (int i = 0; i < 4; i++)
		(void) ds_tokenizer_learn_add(learner, texts[i], strlen(texts[i]), &status);
	CHECK(ds_tokenizer_learn_finish(learner, &arena, &blob, &size, &status) == DS_OK &&
			  ds_tokenizer_open(&tokenizer, blob, size, &status) == DS_OK,
		  "%s", status.message);
	ds_plan_init(&plan, &arena);
	CHECK(ds_ngram_rules(&tokenizer, blob, size, "rules.json", "rules.bin", &plan, &status) ==
				  DS_OK &&
			  plan.file_count == 2,
		  "%s", status.message);
	file = ds_plan_find(&plan, "rules.json");
	CHECK(ds_json_parse(file->parts[0].bytes, (size_t) file->parts[0].length, "rules", &root,
						&status) == DS_OK,
		  "the rules are JSON: %s", status.message);
	CHECK((ds_json_kind(ds_json_member(root, "entities")) == DS_JSON_OBJECT) == html,
		  "entities where HTML is stripped");
	file = ds_plan_find(&plan, "rules.bin");
	CHECK(file->size == size && file->parts[0].bytes == blob, "the blob is not copied");

	c = 0;
	for (DsJsonItem item = ds_json_items(ds_json_member(root, "width")); next_range(&item, range);)
	{
		for (; c < (uint32_t) range[0]; c++)
			wrong += ds_fold_width(c) != c;
		for (; c <= (uint32_t) range[1]; c++)
			wrong += ds_fold_width(c) != (uint32_t) (c + range[2]);
	}
	for (; c < 0x110000; c++)
		wrong += ds_fold_width(c) != c;
	CHECK(wrong == 0, "widths of %zu characters", wrong);
	c = 0;
	for (DsJsonItem item = ds_json_items(ds_json_member(root, "fold")); next_range(&item, range);)
	{
		wrong += c > (uint32_t) range[0]; /* in order, which a search relies on */
		for (; c < (uint32_t) range[0]; c++)
			wrong += ds_fold_case(c) != c;
		for (; c <= (uint32_t) range[1]; c++)
			wrong +=
				ds_fold_case(c) != (uint32_t) ((c - range[0]) % range[2] == 0 ? c + range[3] : c);
	}
	for (; c < 0x110000; c++)
		wrong += ds_fold_case(c) != c;
	CHECK(wrong == 0, "case of %zu characters", wrong);
	{
		int64_t class = 0;

		c = 0;
		for (DsJsonItem item = ds_json_items(ds_json_member(root, "classes"));
			 next_range(&item, range); class = range[1])
			for (; c < (uint32_t) range[0]; c++)
				wrong += (int64_t) ds_char_class(c) != class;
		for (; c < 0x110000; c++)
			wrong += (int64_t) ds_char_class(c) != class;
	}
	CHECK(wrong == 0, "classes of %zu characters", wrong);
	ds_arena_free(&arena);
}

static void
test_preprocessor(void)
{
	DsImageTransform t;
	DsArena arena;
	DsPlan plan;
	DsStatus status;

	ds_arena_init(&arena, NULL);
	for (DsImageFit fit = DS_FIT_NONE; fit <= DS_FIT_LONGEST; fit++)
		for (uint32_t crop = 0; crop < 2; crop++)
		{
			DsCode code;

			ds_image_transform_init(&t);
			t.fit = fit;
			t.height = fit == DS_FIT_NONE ? 0 : 40;
			t.width = fit == DS_FIT_EXACT ? 30 : t.height;
			t.filter = DS_FILTER_BILINEAR;
			t.crop_height = crop * 24;
			t.crop_width = crop * 20;
			t.mean[1] = 0.4578275f;
			t.deviation[2] = 0.27577711f;
			ds_plan_init(&plan, &arena);
			code = ds_image_preprocessor(&t, &plan, &status);
			CHECK(code == (fit == DS_FIT_LONGEST ? DS_UNSUPPORTED : DS_OK), "fit %d, crop %u: %s",
				  (int) fit, crop, code == DS_OK ? "" : status.message);
		}
	ds_arena_free(&arena);
}

int
main(void)
{
	test_rules(false);
	test_rules(true);
	test_preprocessor();
	return unit_done();
}
