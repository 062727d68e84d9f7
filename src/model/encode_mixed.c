/*
 * encode_mixed.c
 *		Dual encoders of which a side reads pictures: texts, pictures, or both, to
 *		embeddings.
 *
 * An item's embedding does not depend on those beside it, to the last bit: pictures
 * wait for each other before they go through the network, everything else goes one by one.
 */
#include "model/model.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "nn/layers.h"

#define AT_ONCE 16 /* pictures that wait for the network */

/* Those that wait: places in the caller's arrays, and what has been made of them */
typedef struct Waiting
{
	size_t count;
	size_t place[AT_ONCE];
	float *values; /* of pictures, what the network reads */
	float *images; /* [AT_ONCE, dims] what it gives */
	float *text; /* [dims] */
	float *joined;
} Waiting;

DsSide
ds_mixed_image_side(const DsModel *model)
{
	return model->mixed[DS_SIDE_DOCUMENT].image != NULL ? DS_SIDE_DOCUMENT : DS_SIDE_QUERY;
}

static void
infer_text(DsModel *model, DsSide side, DsText text, float *out)
{
	DsMixedTower *tower = &model->mixed[side];
	DsTokenScratch *tokens = &model->tokens[side];
	size_t offsets[2] = {0, 0};
	DsStatus status;

	offsets[1] = ds_tokenizer_encode(&model->tokenizer[side], tokens, text.data, text.length);
	/* a text of which nothing is left is none, as in training */
	if (offsets[1] == 0 && tower->fused)
	{
		memcpy(out, tower->fusion.no_text, sizeof(float) * tower->fusion.text);
		return;
	}
	ds_check(ds_dual_encoder_infer(tower->text, DS_SIDE_QUERY, tokens->ids, offsets, 1,
								   tower->text_scratch, out, &ds_server_cancel, &status),
			 &status);
}

/* The embedding of an item, whose picture has gone through the network (NULL: it has none) */
static void
finish(DsModel *model, DsSide side, const DsText *text, const float *image, Waiting *waiting,
	   float *out)
{
	DsMixedTower *tower = &model->mixed[side];
	size_t dims = (size_t) model->dims;
	float inverse;

	if (!tower->fused && image != NULL)
		memcpy(out, image, sizeof(float) * dims);
	else if (!tower->fused && text != NULL)
		infer_text(model, side, *text, out);
	else
	{
		if (text != NULL)
			infer_text(model, side, *text, waiting->text);
		ds_fusion_infer(&tower->fusion, text != NULL ? waiting->text : NULL, image, waiting->joined,
						out);
	}
	if (model->config.score == DS_SCORE_COSINE)
		ds_normalize_forward(out, 1, dims, out, &inverse);
	ds_count_encoded(1);
}

static const DsText *
part(const DsText *parts, size_t i)
{
	return parts != NULL && parts[i].data != NULL ? &parts[i] : NULL;
}

static void
flush(DsModel *model, DsSide side, const DsText *texts, Waiting *waiting, float *out)
{
	size_t dims = (size_t) model->dims;
	DsStatus status;

	if (waiting->count == 0)
		return;
	ds_check(ds_image_network_run(model->mixed[side].image, waiting->count, waiting->values,
								  waiting->images, &model->run_arena, &ds_server_cancel, &status),
			 &status);
	for (size_t w = 0; w < waiting->count; w++)
		finish(model, side, part(texts, waiting->place[w]), waiting->images + w * dims, waiting,
			   out + waiting->place[w] * dims);
	waiting->count = 0;
}

static void
wrong_part(const DsModel *model, DsSide side, const char *what, const char *reads)
{
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					errmsg("%s of model \"%s\" are %s, not %s",
						   side == DS_SIDE_QUERY ? "queries" : "documents",
						   ds_model_name(model->key.model), reads, what)));
}

void
ds_mixed_encode(DsModel *model, DsSide side, const DsText *texts, const DsText *pictures,
				size_t count, bool *failed, float *out)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch mixed", ALLOCSET_DEFAULT_SIZES);
	DsMixedTower *tower = &model->mixed[side];
	size_t dims = (size_t) model->dims;
	size_t values = 0;
	Waiting waiting = {0};
	DsArena arena;
	DsArena scratch;

	if (pictures != NULL && tower->image == NULL)
		wrong_part(model, side, "pictures", "texts");
	if (texts != NULL && tower->text == NULL)
		wrong_part(model, side, "texts", "pictures");
	ds_server_arena(&arena, context);
	ds_server_arena(&scratch, context);
	if (pictures != NULL)
	{
		values = ds_image_values(ds_image_network_spec(tower->image));
		waiting.values =
			MemoryContextAllocHuge(context, sizeof(float) * values * Min(count, AT_ONCE));
		waiting.images = MemoryContextAllocHuge(context, sizeof(float) * dims * AT_ONCE);
	}
	if (tower->fused)
	{
		waiting.text = MemoryContextAlloc(context, sizeof(float) * tower->fusion.text);
		waiting.joined =
			MemoryContextAlloc(context, sizeof(float) * (tower->fusion.text + tower->fusion.image));
	}
	for (size_t i = 0; i < count; i++)
	{
		const DsText *picture = part(pictures, i);

		CHECK_FOR_INTERRUPTS();
		if (failed != NULL)
			failed[i] = false;
		if (picture == NULL)
			finish(model, side, part(texts, i), NULL, &waiting, out + i * dims);
		else if (ds_image_load(&tower->transform, *picture, &arena, &scratch,
							   failed != NULL ? &failed[i] : NULL,
							   waiting.values + waiting.count * values))
			waiting.place[waiting.count++] = i;
		if (waiting.count == AT_ONCE)
			flush(model, side, texts, &waiting, out);
	}
	flush(model, side, texts, &waiting, out);
	MemoryContextDelete(context);
}

void
ds_need_both(const DsModel *model, DsSide side)
{
	if (model->mixed == NULL || !model->mixed[side].fused)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s of model \"%s\" are not a text and a picture",
							   side == DS_SIDE_QUERY ? "queries" : "documents",
							   ds_model_name(model->key.model)),
						errhint("A model with \"image\" and \"fusion\" in its config makes one "
								"embedding of both.")));
}

void
ds_model_encode_both(DsModel *model, DsSide side, const DsText *texts, const DsText *pictures,
					 size_t count, bool *failed, float *out)
{
	ds_need_both(model, side);
	ds_mixed_encode(model, side, texts, pictures, count, failed, out);
}
