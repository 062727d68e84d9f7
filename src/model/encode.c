/*
 * encode.c
 *		ds_encode and its relatives.
 *
 * ORDER BY emb <=> ds_encode('...') evaluates the function once for an index
 * scan, once more for the recheck, or for every row of a sequential scan, in
 * every worker.  Two memories make that one encoding a process: the call site
 * remembers its last text (fn_extra), which costs a comparison of bytes, and
 * the process remembers the texts it has encoded lately (memo.c).  Neither is
 * asked before the name of the model has been resolved for the active
 * snapshot, so a new version is seen by the next statement.
 */
#include "model/model.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "model/catalog.h"
#include "model/memo.h"
#include "vector/embedding.h"

/* Texts that one product of the dense layers takes */
#define BATCH_TEXTS 256

static int64 encode_count = 0;

DsSide
ds_side_from(const char *name)
{
	if (strcmp(name, "query") == 0)
		return DS_SIDE_QUERY;
	if (strcmp(name, "document") == 0)
		return DS_SIDE_DOCUMENT;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown side \"%s\"", name),
					errhint("The sides of a dual encoder are query and document.")));
	return DS_SIDE_QUERY; /* not reached */
}

DsText
ds_text_utf8(const char *data, size_t length)
{
	DsText text = {data, length};

	if (GetDatabaseEncoding() != PG_UTF8 && length > 0)
	{
		char *converted = pg_server_to_any(data, (int) length, PG_UTF8);

		if (converted != data)
		{
			text.data = converted;
			text.length = strlen(converted);
		}
	}
	return text;
}

char *
ds_text_server(const char *utf8, size_t length)
{
	char *copy = pnstrdup(utf8, length);

	return length == 0 ? copy : pg_any_to_server(copy, (int) length, PG_UTF8);
}

static void
not_read(const DsModel *model, const char *reads, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					errmsg("model \"%s\" reads %s, not %s", ds_model_name(model->key.model), reads,
						   what)));
}

void
ds_need_texts(const DsModel *model, DsSide side)
{
	if (model->imported && !model->pretrained.texts)
		not_read(model, "pictures", "texts");
	if (model->mixed != NULL && model->mixed[side].text == NULL)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("model \"%s\" reads pictures as %s, not texts",
							   ds_model_name(model->key.model),
							   side == DS_SIDE_QUERY ? "queries" : "documents")));
}

void
ds_need_images(const DsModel *model)
{
	if (model->imported ? !model->pretrained.images : model->mixed == NULL)
		not_read(model, "texts", "pictures");
}

void
ds_count_encoded(int64 texts)
{
	encode_count += texts;
}

static void
infer(DsModel *model, DsSide side, const uint32_t *ids, const size_t *offsets, size_t count,
	  float *out)
{
	DsStatus status;

	ds_check(ds_dual_encoder_infer(&model->encoder, side, ids, offsets, count, model->scratch, out,
								   &ds_server_cancel, &status),
			 &status);
	ds_count_encoded((int64) count);
}

void
ds_model_encode(DsModel *model, DsSide side, const DsText *texts, size_t count, bool *failed,
				float *out)
{
	DsTokenScratch *tokens;
	const DsTokenizer *tokenizer;
	size_t offsets[BATCH_TEXTS + 1];
	uint32_t *ids;
	size_t capacity;
	size_t held = 0;
	size_t in_batch = 0;

	if (side == DS_SIDE_IMAGE)
	{
		ds_images_encode(model, texts, count, failed, out);
		return;
	}
	if (failed != NULL)
		memset(failed, 0, sizeof(bool) * count);
	ds_need_texts(model, side);
	if (model->mixed != NULL)
	{
		ds_mixed_encode(model, side, texts, NULL, count, NULL, out);
		return;
	}
	if (model->imported)
	{
		if (model->pretrained.spec.scores > 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("model \"%s\" is a cross-encoder, which gives no embeddings",
								   ds_model_name(model->key.model)),
							errhint("Use ds_score() or ds_rerank().")));
		ds_imported_encode(model, side, texts, count, out);
		return;
	}
	if (ds_config_features(&model->config))
	{
		ds_features_encode(model, side, texts, count, out);
		return;
	}
	tokens = &model->tokens[side];
	tokenizer = &model->tokenizer[side];
	offsets[0] = 0;
	if (count == 1)
	{
		offsets[1] = ds_tokenizer_encode(tokenizer, tokens, texts[0].data, texts[0].length);
		infer(model, side, tokens->ids, offsets, 1, out);
		return;
	}
	capacity = Max((size_t) tokenizer->config.max_tokens, 16384);
	ids = palloc(sizeof(uint32_t) * capacity);
	for (size_t i = 0; i < count; i++)
	{
		size_t n;

		CHECK_FOR_INTERRUPTS();
		n = ds_tokenizer_encode(tokenizer, tokens, texts[i].data, texts[i].length);
		if (in_batch == BATCH_TEXTS || held + n > capacity)
		{
			infer(model, side, ids, offsets, in_batch, out);
			out += in_batch * (size_t) model->dims;
			held = in_batch = 0;
		}
		memcpy(ids + held, tokens->ids, sizeof(uint32_t) * n);
		held += n;
		offsets[++in_batch] = held;
	}
	if (in_batch > 0)
		infer(model, side, ids, offsets, in_batch, out);
	pfree(ids);
}

/* ---- ds_encode(text ...) ---- */

/* What a call site remembers */
typedef struct LastText
{
	DsModelKey key;
	DsSide side;
	int dims;
	size_t length;
	size_t capacity;
	char *text;
	float *x;
} LastText;

static void
remember_last(FmgrInfo *flinfo, DsModelKey key, DsSide side, const char *text, size_t length,
			  const float *x, int dims)
{
	LastText *last = flinfo->fn_extra;

	if (last == NULL)
		flinfo->fn_extra = last = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(LastText));
	/* an error in between leaves what was there, whole */
	if (last->text == NULL || last->capacity < length)
	{
		char *grown = MemoryContextAlloc(flinfo->fn_mcxt, length + 64);

		if (last->text != NULL)
		{
			memcpy(grown, last->text, last->length);
			pfree(last->text);
		}
		last->text = grown;
		last->capacity = length + 64;
	}
	if (last->x == NULL || last->dims != dims)
	{
		float *other = MemoryContextAlloc(flinfo->fn_mcxt, sizeof(float) * (Size) dims);

		if (last->x != NULL)
			pfree(last->x);
		last->x = other;
		last->dims = dims;
	}
	last->key = key;
	last->side = side;
	last->length = length;
	memcpy(last->text, text, length);
	memcpy(last->x, x, sizeof(float) * (size_t) dims);
}

static Datum
make_embedding(const float *x, int dims)
{
	return EmbeddingGetDatum(ds_embedding_from(x, dims));
}

/* What the pure rooms get of an argument: a text in UTF-8, a picture's file as it is */
static DsText
input_of(DsSide side, const char *data, size_t length)
{
	return side == DS_SIDE_IMAGE ? (DsText){data, length} : ds_text_utf8(data, length);
}

/*
 * What the memo knows an input by: a text itself, a picture, whose file may be
 * megabytes, by a digest.
 */
static DsText
memo_key(DsSide side, const char *data, size_t length)
{
	bytea *digest;

	if (side != DS_SIDE_IMAGE)
		return (DsText){data, length};
	digest = DatumGetByteaPP(DirectFunctionCall1(
		sha256_bytea, PointerGetDatum(cstring_to_text_with_len(data, (int) length))));
	return (DsText){VARDATA_ANY(digest), VARSIZE_ANY_EXHDR(digest)};
}

/* A text, or with DS_SIDE_IMAGE a picture; null_on_error: false, where a bad one gives nothing */
static bool
encode_one(FunctionCallInfo fcinfo, const char *model_name, DsSide side, bool null_on_error,
		   Datum *result)
{
	text *input = PG_GETARG_TEXT_PP(0);
	const char *data = VARDATA_ANY(input);
	size_t length = VARSIZE_ANY_EXHDR(input);
	const LastText *last = fcinfo->flinfo->fn_extra;
	DsModelKey key = ds_model_resolve(model_name);
	DsText known;
	const float *x;
	int dims;

	if (last != NULL && last->x != NULL && last->key.model == key.model &&
		last->key.version == key.version && last->side == side && last->length == length &&
		memcmp(last->text, data, length) == 0)
	{
		*result = make_embedding(last->x, last->dims);
		return true;
	}
	known = memo_key(side, data, length);
	x = ds_memo_find(key, side, known.data, known.length, &dims);
	if (x == NULL)
	{
		DsModel *model = ds_model_open(key);
		DsText one = input_of(side, data, length);
		float *fresh = palloc(sizeof(float) * (Size) model->dims);
		bool failed = false;

		ds_model_encode(model, side, &one, 1, null_on_error ? &failed : NULL, fresh);
		if (failed)
			return false;
		dims = model->dims;
		ds_memo_add(key, side, known.data, known.length, fresh, dims);
		x = fresh;
	}
	remember_last(fcinfo->flinfo, key, side, data, length, x, dims);
	*result = make_embedding(x, dims);
	return true;
}

static Datum
encode_text(FunctionCallInfo fcinfo, const char *model_name, DsSide side)
{
	Datum result = (Datum) 0;

	(void) encode_one(fcinfo, model_name, side, false, &result);
	return result;
}

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

DS_FUNCTION(ds_sql_encode);
Datum
ds_sql_encode(PG_FUNCTION_ARGS)
{
	return encode_text(fcinfo, NULL, DS_SIDE_QUERY);
}

DS_FUNCTION(ds_sql_encode_model);
Datum
ds_sql_encode_model(PG_FUNCTION_ARGS)
{
	return encode_text(fcinfo, name_argument(fcinfo, 1), DS_SIDE_QUERY);
}

DS_FUNCTION(ds_sql_encode_side);
Datum
ds_sql_encode_side(PG_FUNCTION_ARGS)
{
	return encode_text(fcinfo, name_argument(fcinfo, 1), ds_side_from(name_argument(fcinfo, 2)));
}

/* ---- ds_encode(text[] ...) ---- */

static Datum
encode_array(FunctionCallInfo fcinfo, const char *model_name, DsSide side, bool null_on_error)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	DsModelKey key = ds_model_resolve(model_name);
	Oid element = ds_catalog()->embedding;
	DsModel *model;
	Datum *values;
	bool *nulls;
	int count;
	DsText *texts;
	DsText *keys; /* of the memo */
	int *places;
	size_t wanted = 0;
	float *out;
	int16 length;
	bool by_value;
	char align;
	/* a bulk load would only push out what queries need */
	bool small;

	deconstruct_array(array, side == DS_SIDE_IMAGE ? BYTEAOID : TEXTOID, -1, false, TYPALIGN_INT,
					  &values, &nulls, &count);
	small = count <= ds_setting_encode_cache / 4;
	texts = palloc(sizeof(DsText) * Max(count, 1));
	keys = palloc(sizeof(DsText) * Max(count, 1));
	places = palloc(sizeof(int) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		text *input;
		const float *x = NULL;
		int dims = 0;

		if (nulls[i])
			continue;
		input = DatumGetTextPP(values[i]);
		if (small)
		{
			keys[wanted] = memo_key(side, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
			x = ds_memo_find(key, side, keys[wanted].data, keys[wanted].length, &dims);
		}
		if (x != NULL)
			values[i] = make_embedding(x, dims);
		else
		{
			places[wanted] = i;
			texts[wanted].data = VARDATA_ANY(input);
			texts[wanted].length = VARSIZE_ANY_EXHDR(input);
			wanted++;
		}
	}
	if (wanted > 0)
	{
		DsText *utf8 = palloc(sizeof(DsText) * wanted);

		bool *failed = null_on_error ? palloc0(sizeof(bool) * wanted) : NULL;

		model = ds_model_open(key);
		for (size_t i = 0; i < wanted; i++)
			utf8[i] = input_of(side, texts[i].data, texts[i].length);
		out = MemoryContextAllocHuge(CurrentMemoryContext,
									 sizeof(float) * wanted * (Size) model->dims);
		ds_model_encode(model, side, utf8, wanted, failed, out);
		for (size_t i = 0; i < wanted; i++)
		{
			const float *x = out + i * (size_t) model->dims;

			if (failed != NULL && failed[i])
			{
				nulls[places[i]] = true;
				continue;
			}
			if (small)
				ds_memo_add(key, side, keys[i].data, keys[i].length, x, model->dims);
			values[places[i]] = make_embedding(x, model->dims);
		}
		pfree(out);
	}
	get_typlenbyvalalign(element, &length, &by_value, &align);
	PG_RETURN_ARRAYTYPE_P(construct_md_array(values, nulls, ARR_NDIM(array), ARR_DIMS(array),
											 ARR_LBOUND(array), element, length, by_value, align));
}

DS_FUNCTION(ds_sql_encode_array);
Datum
ds_sql_encode_array(PG_FUNCTION_ARGS)
{
	return encode_array(fcinfo, NULL, DS_SIDE_QUERY, false);
}

DS_FUNCTION(ds_sql_encode_array_model);
Datum
ds_sql_encode_array_model(PG_FUNCTION_ARGS)
{
	return encode_array(fcinfo, name_argument(fcinfo, 1), DS_SIDE_QUERY, false);
}

DS_FUNCTION(ds_sql_encode_array_side);
Datum
ds_sql_encode_array_side(PG_FUNCTION_ARGS)
{
	return encode_array(fcinfo, name_argument(fcinfo, 1), ds_side_from(name_argument(fcinfo, 2)),
						false);
}

/* ---- ds_encode(bytea ...), ds_encode(bytea[] ...): pictures ---- */

/* "error" or "null" */
static bool
null_on_error(FunctionCallInfo fcinfo, int n)
{
	char *word;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("on_error must not be NULL")));
	word = name_argument(fcinfo, n);
	if (strcmp(word, "null") != 0 && strcmp(word, "error") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown on_error \"%s\"", word),
				 errhint("It is error, or null for no embedding of a bad picture.")));
	return strcmp(word, "null") == 0;
}

DS_FUNCTION(ds_sql_encode_image);
Datum
ds_sql_encode_image(PG_FUNCTION_ARGS)
{
	bool nulls = null_on_error(fcinfo, 2);
	Datum result;

	if (PG_ARGISNULL(0) || !encode_one(fcinfo, PG_ARGISNULL(1) ? NULL : name_argument(fcinfo, 1),
									   DS_SIDE_IMAGE, nulls, &result))
		PG_RETURN_NULL();
	return result;
}

DS_FUNCTION(ds_sql_encode_images);
Datum
ds_sql_encode_images(PG_FUNCTION_ARGS)
{
	bool nulls = null_on_error(fcinfo, 2);

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return encode_array(fcinfo, PG_ARGISNULL(1) ? NULL : name_argument(fcinfo, 1), DS_SIDE_IMAGE,
						nulls);
}

/* ---- ds_encode(text, bytea ...): a document's text and its picture ---- */

/* What the memo knows both by: whether each is there, a digest of the picture, the text */
static DsText
both_key(text *words, bytea *picture)
{
	StringInfoData key;

	initStringInfo(&key);
	appendStringInfoChar(&key, words != NULL ? '+' : '-');
	if (picture != NULL)
	{
		DsText digest = memo_key(DS_SIDE_IMAGE, VARDATA_ANY(picture), VARSIZE_ANY_EXHDR(picture));

		appendBinaryStringInfo(&key, digest.data, (int) digest.length);
	}
	else
		appendStringInfoChar(&key, '-');
	if (words != NULL)
		appendBinaryStringInfo(&key, VARDATA_ANY(words), (int) VARSIZE_ANY_EXHDR(words));
	return (DsText){key.data, (size_t) key.len};
}

DS_FUNCTION(ds_sql_encode_both);
Datum
ds_sql_encode_both(PG_FUNCTION_ARGS)
{
	text *words = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	bytea *picture = PG_ARGISNULL(1) ? NULL : PG_GETARG_BYTEA_PP(1);
	bool nulls = null_on_error(fcinfo, 3);
	DsModelKey key;
	DsText known;
	const float *x;
	int dims;

	if (words == NULL && picture == NULL)
		PG_RETURN_NULL();
	key = ds_model_resolve(PG_ARGISNULL(2) ? NULL : name_argument(fcinfo, 2));
	known = both_key(words, picture);
	x = ds_memo_find(key, DS_SIDE_BOTH, known.data, known.length, &dims);
	if (x == NULL)
	{
		DsModel *model = ds_model_open(key);
		DsText parts[2] = {{NULL, 0}, {NULL, 0}};
		float *fresh = palloc(sizeof(float) * (Size) model->dims);
		bool failed = false;

		if (words != NULL)
			parts[0] = ds_text_utf8(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words));
		if (picture != NULL)
			parts[1] = (DsText){VARDATA_ANY(picture), VARSIZE_ANY_EXHDR(picture)};
		ds_model_encode_both(model, DS_SIDE_DOCUMENT, &parts[0], &parts[1], 1,
							 nulls ? &failed : NULL, fresh);
		if (failed)
			PG_RETURN_NULL();
		dims = model->dims;
		ds_memo_add(key, DS_SIDE_BOTH, known.data, known.length, fresh, dims);
		x = fresh;
	}
	return make_embedding(x, dims);
}

DS_FUNCTION(ds_sql_encode_count);
Datum
ds_sql_encode_count(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT64(encode_count);
}

/* ---- looking at texts ---- */

/* The UTF-8 text of the pure rooms as a text of this database */
static text *
text_from_utf8(const char *data, size_t length)
{
	char *converted = pg_any_to_server(data, (int) length, PG_UTF8);

	if (converted == data)
		return cstring_to_text_with_len(data, (int) length);
	return cstring_to_text(converted);
}

DS_FUNCTION(ds_sql_clean);
Datum
ds_sql_clean(PG_FUNCTION_ARGS)
{
	text *input = PG_GETARG_TEXT_PP(0);
	DsText utf8 = ds_text_utf8(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	DsCleanOptions options;
	size_t bound = ds_clean_bound(utf8.length);
	char *out;
	size_t length;

	ds_clean_options_read(PG_GETARG_JSONB_P(1), &options);
	if (bound > MaxAllocHugeSize)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("text is too long")));
	out = MemoryContextAllocHuge(CurrentMemoryContext, Max(bound, 1));
	length = ds_clean_long(&options, utf8.data, utf8.length, out, bound, &ds_server_cancel);
	CHECK_FOR_INTERRUPTS();
	if (length > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("cleaned text is too long")));
	PG_RETURN_TEXT_P(text_from_utf8(out, length));
}

static void
put_row(Tuplestorestate *store, TupleDesc desc, uint32 id, const char *token, size_t length,
		bool learned)
{
	Datum values[3];
	bool nulls[3] = {false, false, false};

	values[0] = Int32GetDatum((int32) id);
	values[1] = PointerGetDatum(text_from_utf8(token, length));
	values[2] = BoolGetDatum(learned);
	tuplestore_putvalues(store, desc, values, nulls);
}

static void
put_features(DsModel *model, DsSide side, DsText text, Tuplestorestate *store, TupleDesc desc)
{
	const DsTokenizer *tokenizer = &model->tokenizer[side];
	DsTokenScratch *tokens = &model->tokens[side];
	size_t count = ds_tokenizer_encode(tokenizer, tokens, text.data, text.length);

	CHECK_FOR_INTERRUPTS();
	for (size_t i = 0; i < count; i++)
		put_row(store, desc, tokens->ids[i], tokens->clean + tokens->begins[i],
				tokens->ends[i] - tokens->begins[i], tokens->ids[i] < tokenizer->learned);
}

static void
put_tokens(DsModel *model, DsSide side, DsText text, Tuplestorestate *store, TupleDesc desc)
{
	const uint32_t *ids;
	const uint8_t *types;
	size_t count = ds_imported_tokens(model, side, text, NULL, &ids, &types);

	for (size_t i = 0; i < count; i++)
	{
		size_t length;
		const char *token = ds_subword_token(&model->subword, ids[i], &length);

		put_row(store, desc, ids[i], token, length, true);
	}
}

/* ds_tokenize(text, model, side): one row a feature or token, as the encoder gets them */
DS_FUNCTION(ds_sql_tokenize);
Datum
ds_sql_tokenize(PG_FUNCTION_ARGS)
{
	text *input = PG_GETARG_TEXT_PP(0);
	DsText utf8 = ds_text_utf8(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	DsSide side = ds_side_from(name_argument(fcinfo, 2));
	DsModel *model = ds_model_open(ds_model_resolve(name_argument(fcinfo, 1)));
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);

	ds_need_texts(model, side);
	if (!model->imported && ds_config_features(&model->config))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" takes features, not texts",
							   ds_model_name(model->key.model))));
	if (model->imported)
		put_tokens(model, side, utf8, store, desc);
	else
		put_features(model, side, utf8, store, desc);
	return (Datum) 0;
}
