/*
 * score.c
 *		Cross-encoders: ds_score, ds_rerank and ds_classify.
 *
 * A cross-encoder reads query and document together and says how well they go
 * with each other.  That is more exact than a distance of embeddings, and must
 * be computed for each pair: for the best of an index scan, not for a table.
 */
#include "model/model.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "nn/loss.h"

/* The model of this name (or the default), which reads two texts together */
static DsModel *
open_cross_encoder(FunctionCallInfo fcinfo, int argument)
{
	char *name = PG_ARGISNULL(argument) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argument));
	DsModel *model = ds_model_open(ds_model_resolve(name));

	if (!model->imported || !model->pretrained.texts || model->pretrained.spec.scores == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" gives embeddings, not scores",
							   ds_model_name(model->key.model)),
						errhint("Compare embeddings by their distance, or import a "
								"cross-encoder.")));
	return model;
}

/* One that gives one score */
static DsModel *
open_scorer(FunctionCallInfo fcinfo, int argument)
{
	DsModel *model = open_cross_encoder(fcinfo, argument);

	if (model->dims != 1)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" gives %d scores for a pair of texts instead of one",
							   ds_model_name(model->key.model), model->dims),
						errhint("ds_classify takes them as classes.")));
	return model;
}

static DsText
text_argument(text *input)
{
	return ds_text_utf8(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
}

DS_FUNCTION(ds_sql_score);
Datum
ds_sql_score(PG_FUNCTION_ARGS)
{
	DsModel *model;
	DsText query;
	DsText document;
	float score;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = open_scorer(fcinfo, 2);
	query = text_argument(PG_GETARG_TEXT_PP(0));
	document = text_argument(PG_GETARG_TEXT_PP(1));
	ds_imported_score(model, query, &document, 1, &score);
	PG_RETURN_FLOAT4(score);
}

/* Are the outputs logits, as a model of classes has them, or finished by a function? */
static bool
gives_logits(const DsEncoderSpec *spec)
{
	const DsSpecModule *last;

	if (spec->module_count == 0)
		return true;
	last = &spec->modules[spec->module_count - 1];
	return last->kind != DS_MODULE_DENSE || last->activation == DS_ACT_IDENTITY;
}

/* ds_classify(query, document, model): class, probability, probabilities */
DS_FUNCTION(ds_sql_classify);
Datum
ds_sql_classify(PG_FUNCTION_ARGS)
{
	DsModel *model;
	DsText query;
	DsText document;
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false, false, false};
	Datum *elements;
	float *outputs;
	size_t count;
	size_t best = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = open_cross_encoder(fcinfo, 2);
	count = (size_t) model->dims;
	if (count == 1)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" gives one score for a pair of texts, no classes",
							   ds_model_name(model->key.model)),
						errhint("ds_score gives it.")));
	query = text_argument(PG_GETARG_TEXT_PP(0));
	document = text_argument(PG_GETARG_TEXT_PP(1));
	outputs = palloc(sizeof(float) * count);
	ds_imported_score(model, query, &document, 1, outputs);
	if (gives_logits(&model->pretrained.spec))
		best = ds_classes_of(outputs, count, outputs);
	else
		for (size_t i = 1; i < count; i++)
			best = outputs[i] > outputs[best] ? i : best;
	elements = palloc(sizeof(Datum) * count);
	for (size_t i = 0; i < count; i++)
		elements[i] = Float4GetDatum(outputs[i]);
	values[0] = Int32GetDatum((int32) best);
	values[1] = elements[best];
	values[2] = PointerGetDatum(
		construct_array(elements, (int) count, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

typedef struct Ranked
{
	int position; /* among the documents, from 0 */
	float score;
} Ranked;

/* the best first; NaN, which compares with nothing, last; ties as they came */
static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;
	bool x_nan = x->score != x->score;
	bool y_nan = y->score != y->score;

	if (x_nan != y_nan)
		return x_nan ? 1 : -1;
	if (x->score > y->score)
		return -1;
	if (x->score < y->score)
		return 1;
	return x->position < y->position ? -1 : 1;
}

DS_FUNCTION(ds_sql_rerank);
Datum
ds_sql_rerank(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsModel *model;
	Datum *values;
	bool *nulls;
	int count;
	int wanted = 0;
	DsText *documents;
	float *scores;
	Ranked *ranked;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	model = open_scorer(fcinfo, 2);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &count);
	documents = palloc(sizeof(DsText) * Max(count, 1));
	scores = palloc(sizeof(float) * Max(count, 1));
	ranked = palloc(sizeof(Ranked) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			continue;
		documents[wanted] = text_argument(DatumGetTextPP(values[i]));
		ranked[wanted++].position = i;
	}
	ds_imported_score(model, text_argument(PG_GETARG_TEXT_PP(0)), documents, (size_t) wanted,
					  scores);
	for (int i = 0; i < wanted; i++)
		ranked[i].score = scores[i];
	qsort(ranked, (size_t) wanted, sizeof(Ranked), compare_ranked);
	for (int i = 0; i < wanted; i++)
	{
		Datum row[3] = {Int32GetDatum(ranked[i].position + 1), values[ranked[i].position],
						Float4GetDatum(ranked[i].score)};
		bool row_nulls[3] = {false, false, false};

		tuplestore_putvalues(store, desc, row, row_nulls);
	}
	return (Datum) 0;
}
