/*
 * encode_features.c
 *		Models whose towers take features: dense heads on what another model, or a
 *		measurement, has made.
 *
 * Features come as an embedding, or as the text of one or of an array: so
 * ds_encode_table and ds_encode_trigger, which turn their source into text, serve
 * a column of features as they do one of texts.
 */
#include "model/model.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "model/catalog.h"
#include "vector/embedding.h"

float *
ds_features_from_array(Datum array, int *count)
{
	ArrayType *numbers = DatumGetArrayTypePCopy(array);
	float *x = (float *) ARR_DATA_PTR(numbers);

	if (ARR_NDIM(numbers) != 1 || ARR_HASNULL(numbers))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("features must be an array of one dimension without NULLs")));
	*count = ARR_DIMS(numbers)[0];
	for (int i = 0; i < *count; i++)
		if (!isfinite(x[i]))
			ds_embedding_not_finite((double) x[i], i);
	return x;
}

float *
ds_features_from_text(DsText text, int *count)
{
	char *string = pnstrdup(text.data, text.length);
	const char *first = string + strspn(string, " \t\r\n");

	if (*first == '{')
		return ds_features_from_array(OidInputFunctionCall(F_ARRAY_IN, string, FLOAT4OID, -1),
									  count);
	else
	{
		Oid input;
		Oid parameter;
		DsEmbedding *embedding;

		getTypeInputInfo(ds_catalog()->embedding, &input, &parameter);
		embedding = DatumGetEmbedding(OidInputFunctionCall(input, string, parameter, -1));
		*count = embedding->dim;
		return embedding->x;
	}
}

static void
infer(DsModel *model, DsSide side, const float *features, int count, float *out)
{
	uint32_t wanted = model->config.tower[model->config.shared ? 0 : side].embedding_dims;
	DsStatus status;

	if ((uint32_t) count != wanted)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("model \"%s\" takes %u features, not %d",
							   ds_model_name(model->key.model), wanted, count)));
	ds_check(ds_dual_encoder_infer_features(&model->encoder, side, features, 1, model->scratch, out,
											&ds_server_cancel, &status),
			 &status);
	ds_count_encoded(1);
}

void
ds_features_encode(DsModel *model, DsSide side, const DsText *texts, size_t count, float *out)
{
	for (size_t i = 0; i < count; i++)
	{
		int numbers;
		float *features;

		CHECK_FOR_INTERRUPTS();
		features = ds_features_from_text(texts[i], &numbers);
		infer(model, side, features, numbers, out + i * (size_t) model->dims);
	}
}

/* ---- ds_encode(embedding ...) ---- */

/* A pass through a head costs less than remembering what it was for. */
static Datum
encode_features(FunctionCallInfo fcinfo, const char *model_name, DsSide side)
{
	DsModel *model = ds_model_open(ds_model_resolve(model_name));
	DsEmbedding *features = PG_GETARG_EMBEDDING(0);
	float *out;

	if (model->imported || !ds_config_features(&model->config))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" takes texts, not features",
							   ds_model_name(model->key.model))));
	out = palloc(sizeof(float) * (Size) model->dims);
	infer(model, side, features->x, features->dim, out);
	return EmbeddingGetDatum(ds_embedding_from(out, model->dims));
}

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

DS_FUNCTION(ds_sql_encode_features);
Datum
ds_sql_encode_features(PG_FUNCTION_ARGS)
{
	return encode_features(fcinfo, name_argument(fcinfo, 1), DS_SIDE_QUERY);
}

DS_FUNCTION(ds_sql_encode_features_side);
Datum
ds_sql_encode_features_side(PG_FUNCTION_ARGS)
{
	return encode_features(fcinfo, name_argument(fcinfo, 1),
						   ds_side_from(name_argument(fcinfo, 2)));
}
