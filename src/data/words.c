/*
 * words.c
 *		ds_clean(text, options, configuration): stop words and stemming.
 *
 * Cleaning as the tokenizers do it (text/clean.h), and then what the server's
 * text search makes of the result: its parser finds the words, the
 * configuration's dictionaries drop stop words and reduce the others to stems
 * (or do whatever they were set up to do).  The words are put together again
 * with one space between.
 *
 * The parser's words may be long: a Chinese text is one until some character
 * ends it.  The server leaves out words of 2,047 bytes and more, with a
 * NOTICE, because they do not fit into a tsvector; here they stay as they are.
 */
#include "server.h"

#include "catalog/pg_ts_config.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tsearch/ts_cache.h"
#include "tsearch/ts_type.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "model/config.h"
#include "text/clean.h"

static void
append_word(StringInfo out, const char *word, int length)
{
	if (length == 0)
		return;
	if (out->len > 0)
		appendStringInfoChar(out, ' ');
	appendBinaryStringInfo(out, word, length);
}

/* A part without words that are too long */
static void
append_part(StringInfo out, Oid configuration, char *text, int length)
{
	ParsedText parsed = {0};
	int last = -1;

	if (length == 0)
		return;
	parsed.lenwords = 32 + length / 6;
	parsed.words = palloc_extended(sizeof(ParsedWord) * (Size) parsed.lenwords, MCXT_ALLOC_HUGE);
	parsetext(configuration, &parsed, text, length);
	for (int i = 0; i < parsed.curwords; i++)
	{
		ParsedWord *word = &parsed.words[i];

		/* a dictionary may know several stems of a word: the first */
		if (word->pos.pos != last)
			append_word(out, word->word, word->len);
		last = word->pos.pos;
		pfree(word->word);
	}
	pfree(parsed.words);
}

DS_FUNCTION(ds_sql_clean_words);
Datum
ds_sql_clean_words(PG_FUNCTION_ARGS)
{
	text *input = PG_GETARG_TEXT_PP(0);
	Oid configuration = PG_GETARG_OID(2);
	DsText utf8 = ds_text_utf8(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	size_t bound = ds_clean_bound(utf8.length);
	TSConfigCacheEntry *entry = lookup_ts_config_cache(configuration);
	TSParserCacheEntry *parser = lookup_ts_parser_cache(entry->prsId);
	DsCleanOptions options;
	StringInfoData out;
	char *clean;
	char *text;
	char *begin;
	size_t length;
	void *state;

	ds_clean_options_read(PG_GETARG_JSONB_P(1), &options);
	if (bound > MaxAllocHugeSize)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("text is too long")));
	clean = MemoryContextAllocHuge(CurrentMemoryContext, bound + 1);
	length = ds_clean_long(&options, utf8.data, utf8.length, clean, bound, &ds_server_cancel);
	CHECK_FOR_INTERRUPTS();
	/* the parser's words are told apart by bytes of the server's encoding */
	text = ds_text_server(clean, length);
	length = strlen(text);
	if (length > MaxAllocSize / 8)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("cleaned text is too long")));

	initStringInfo(&out);
	begin = text;
	state = DatumGetPointer(
		FunctionCall2(&parser->prsstart, PointerGetDatum(text), Int32GetDatum((int32) length)));
	for (;;)
	{
		char *word = NULL;
		int word_length = 0;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt32(FunctionCall3(&parser->prstoken, PointerGetDatum(state),
										PointerGetDatum(&word), PointerGetDatum(&word_length))) <=
			0)
			break;
		if (word_length < MAXSTRLEN)
			continue;
		append_part(&out, configuration, begin, (int) (word - begin));
		append_word(&out, word, word_length);
		begin = word + word_length;
	}
	FunctionCall1(&parser->prsend, PointerGetDatum(state));
	append_part(&out, configuration, begin, (int) (text + length - begin));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
