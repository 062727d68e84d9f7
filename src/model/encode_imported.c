/*
 * encode_imported.c
 *		Encoding and scoring by imported models.
 *
 * Texts become tokens, many texts' tokens one batch for the forward pass,
 * which computes no padding and gives a text the same numbers in any company.
 */
#include "model/model.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* one call of the forward pass */
#define BATCH_TEXTS 256
#define BATCH_TOKENS 16384
/* what the tokenizer has taken for a long text is given back beyond this */
#define SCRATCH_KEPT ((size_t) 1 << 20)

typedef struct Batch
{
	uint32_t starts[BATCH_TEXTS + 1];
	uint32_t *ids;
	uint8_t *types;
	size_t capacity;
	size_t texts;
} Batch;

static Batch *
make_batch(void)
{
	Batch *batch = palloc(sizeof(Batch));

	batch->capacity = 1024;
	batch->ids = palloc(sizeof(uint32_t) * batch->capacity);
	batch->types = palloc(batch->capacity);
	batch->texts = 0;
	batch->starts[0] = 0;
	return batch;
}

static void
free_batch(Batch *batch)
{
	pfree(batch->ids);
	pfree(batch->types);
	pfree(batch);
}

static DsSubwordScratch *
scratch_of(DsModel *model)
{
	DsStatus status;

	if (model->subword_scratch == NULL)
	{
		MemoryContext context =
			AllocSetContextCreate(model->context, "deepsearch tokenizer", ALLOCSET_DEFAULT_SIZES);

		ds_server_arena(&model->subword_arena, context);
		model->subword_context = context;
		ds_check(ds_subword_scratch(&model->subword_arena, &model->subword_scratch, &status),
				 &status);
	}
	return model->subword_scratch;
}

static void
trim_scratch(DsModel *model)
{
	if (model->subword_scratch == NULL || model->subword_arena.allocated <= SCRATCH_KEPT)
		return;
	model->subword_scratch = NULL;
	MemoryContextDelete(model->subword_context);
}

static void
tokenize(DsModel *model, DsText text, const DsText *second, DsSubwordTokens *tokens)
{
	const DsImportedConfig *config = &model->pretrained;
	uint32_t limit = config->spec.max_tokens > 0 ? config->spec.max_tokens : UINT32_MAX;
	DsSubwordOptions options = {
		.special = config->special,
		/* tokens that will be left out do not count */
		.max_length = config->drop_id == DS_SPEC_NO_ID ? limit : UINT32_MAX,
		.cancel = &ds_server_cancel,
	};
	DsStatus status;

	ds_check(ds_subword_encode(&model->subword, scratch_of(model), text.data, text.length,
							   second != NULL ? second->data : NULL,
							   second != NULL ? second->length : 0, &options, tokens, &status),
			 &status);
}

static void
add_tokens(DsModel *model, Batch *batch, const DsSubwordTokens *tokens)
{
	const DsImportedConfig *config = &model->pretrained;
	size_t at = batch->starts[batch->texts];
	size_t limit = config->spec.max_tokens > 0 ? config->spec.max_tokens : SIZE_MAX;
	size_t begin = at;

	if (at + tokens->count > PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("text is too long")));
	if (at + tokens->count > batch->capacity)
	{
		batch->capacity = Max(batch->capacity * 2, at + tokens->count);
		batch->ids = repalloc_huge(batch->ids, sizeof(uint32_t) * batch->capacity);
		batch->types = repalloc_huge(batch->types, batch->capacity);
	}
	for (size_t i = 0; i < tokens->count && at - begin < limit; i++)
	{
		if (tokens->ids[i] == config->drop_id)
			continue;
		batch->ids[at] = tokens->ids[i];
		batch->types[at++] = tokens->types[i];
	}
	batch->starts[++batch->texts] = (uint32_t) at;
}

/* out gets batch->texts results of width numbers; the batch is empty afterwards */
static void
run(DsModel *model, DsSide side, Batch *batch, float *out)
{
	DsEncoderBatch input = {
		.texts = batch->texts, .starts = batch->starts, .ids = batch->ids, .types = batch->types};
	DsStatus status;

	if (batch->texts == 0)
		return;
	ds_check(ds_encoder_run(model->network[side], &input, out, &model->run_arena, &ds_server_cancel,
							&status),
			 &status);
	ds_arena_free(&model->run_arena);
	ds_count_encoded((int64) batch->texts);
	batch->texts = 0;
}

static bool
is_full(const Batch *batch)
{
	return batch->texts == BATCH_TEXTS || batch->starts[batch->texts] >= BATCH_TOKENS;
}

/* A text with its side's prompt before it */
static void
add_text(DsModel *model, DsSide side, DsText text, Batch *batch)
{
	const char *prompt = model->pretrained.prompt[side];
	size_t prompt_length = strlen(prompt);
	DsSubwordTokens tokens;
	char *prompted = NULL;

	if (prompt_length > 0)
	{
		prompted = MemoryContextAllocHuge(CurrentMemoryContext, prompt_length + text.length);
		memcpy(prompted, prompt, prompt_length);
		memcpy(prompted + prompt_length, text.data, text.length);
		text = (DsText){prompted, prompt_length + text.length};
	}
	tokenize(model, text, NULL, &tokens);
	add_tokens(model, batch, &tokens);
	if (prompted != NULL)
		pfree(prompted);
}

/* Query and document in one sequence */
static void
add_pair(DsModel *model, DsText query, DsText document, Batch *batch)
{
	DsSubwordTokens tokens;

	tokenize(model, query, &document, &tokens);
	add_tokens(model, batch, &tokens);
}

void
ds_imported_encode(DsModel *model, DsSide side, const DsText *texts, size_t count, float *out)
{
	Batch *batch = make_batch();

	for (size_t i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_text(model, side, texts[i], batch);
		if (is_full(batch) || i + 1 == count)
		{
			size_t done = batch->texts;

			run(model, side, batch, out);
			out += done * (size_t) model->dims;
		}
	}
	free_batch(batch);
	trim_scratch(model);
}

size_t
ds_imported_tokens(DsModel *model, DsSide side, DsText text, const DsText *second,
				   const uint32_t **ids, const uint8_t **types)
{
	Batch *batch = make_batch();

	if (second != NULL)
		add_pair(model, text, *second, batch);
	else
		add_text(model, side, text, batch);
	trim_scratch(model);
	*ids = batch->ids;
	*types = batch->types;
	return batch->starts[1];
}

void
ds_imported_score(DsModel *model, DsText query, const DsText *documents, size_t count, float *out)
{
	Batch *batch = make_batch();

	for (size_t i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_pair(model, query, documents[i], batch);
		if (is_full(batch) || i + 1 == count)
		{
			size_t done = batch->texts;

			run(model, DS_SIDE_DOCUMENT, batch, out);
			out += done * (size_t) model->dims;
		}
	}
	free_batch(batch);
	trim_scratch(model);
}
