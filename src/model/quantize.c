/*
 * quantize.c
 *		ds_quantize_model(): the same model with shorter numbers.
 *
 * Tensors of two dimensions and more are stored shorter, the vectors among them
 * (biases, norms), which take no room, as they are:
 *
 *	   fp16		all in f16; what is computed stays f32
 *	   bf16		all in bf16; an encoder computes with it too
 *	   int8		tables of tokens and the layers' weights in i8 with a scale for each
 *				row, the largest magnitude over 127, and an encoder computes with
 *				it; others in f16.  What was trained here but is no transformer (bags,
 *				heads, networks over pictures) is computed in f32, and has in i8 what
 *				takes room; its scales are bf16, rounded up: a row of a table is short,
 *				so they count.  A convolution's row is an output channel.  The dense
 *				layer of a bag, near the identity, would lose most and gain nothing
 *
 * A tokenizer that was learned is stored packed.
 *
 * Then both models encode the texts of the calibration query, which tells what
 * the shorter numbers cost and what they gain.
 */
#include "model/model.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "data/source.h"
#include "eval/metrics_agreement.h"
#include "model/catalog.h"
#include "model/create.h"
#include "model/delta.h"
#include "model/fields.h"
#include "model/layout.h"
#include "model/stored_source.h"
#include "model/version.h"

#define FLOATS ((uint64) 1 << 18) /* numbers converted at once */
#define TEXTS_MAX 1000 /* of the calibration query: they are compared with each other */
#define NEAREST 10
#define SMALL 100 /* what has less than this part of a model's numbers takes no room */

typedef enum Target
{
	TARGET_FP16,
	TARGET_BF16,
	TARGET_INT8
} Target;

static const char *const targets[] = {"fp16", "bf16", "int8", NULL};

typedef struct Options
{
	char *calibration;
} Options;

static const Field option_fields[] = {
	TEXT("calibration", Options, calibration),
	END,
};

typedef struct Quantization
{
	char *name;
	char *new_name;
	Target target;
	Options options;
	DsModelKey from;
	DsModelKey to;
	DsImportedConfig config;
	bool imported;
	bool scores;
	DsSide side; /* that encodes the calibration texts */
	int dims;
	int64 parameters;
	int64 size_before;
	int64 size_after;

	/* of the calibration query; UTF-8 */
	MemoryContext context;
	DsText *texts; /* [TEXTS_MAX] */
	DsText *seconds; /* of pairs */
	int count;
	double microseconds[2];
	DsAgreement agreement;
} Quantization;

/* ---- tensors ---- */

static bool
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name);
	size_t m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

/* How a tensor of numbers is stored */
static DsDtype
dtype_of(const Quantization *q, const DsStored *stored)
{
	const char *name = stored->name;

	if (stored->rank < 2)
		return DS_DTYPE_F32;
	if (q->target == TARGET_FP16)
		return DS_DTYPE_F16;
	if (q->target == TARGET_BF16)
		return DS_DTYPE_BF16;
	if (!q->imported)
		return stored->elements < (uint64) q->parameters / SMALL ? DS_DTYPE_F16 : DS_DTYPE_I8;
	/* rows of a matrix that is stored the other way round are no outputs */
	if (ends_with(name, "token.weight") || ends_with(name, "patch.weight") ||
		(strstr(name, "layer.") != NULL && ends_with(name, ".weight")))
		return DS_DTYPE_I8;
	return DS_DTYPE_F16;
}

typedef struct Input
{
	DsReader *reader;
	DsStoredSource stored;
	DsTensorSource source;
	const DsStored *tensor;
	float *whole; /* of a version that is stored as changes */
} Input;

static void
read_floats(Input *input, uint64 first, size_t count, float *out)
{
	DsStatus status;

	if (input->whole != NULL)
		memcpy(out, input->whole + first, count * sizeof(float));
	else
		ds_guard_check(&input->stored.guard,
					   input->source.read(input->source.context, input->tensor->name, first, count,
										  out, &status),
					   &status);
}

/* The least bf16 that is not less */
static float
round_up(float value)
{
	uint32 bits;

	memcpy(&bits, &value, sizeof(bits));
	bits = (bits + 0xFFFF) & 0xFFFF0000;
	memcpy(&value, &bits, sizeof(bits));
	return value;
}

static float *
row_scales(Input *input, bool rounded, float *values)
{
	const DsStored *tensor = input->tensor;
	uint64 width = tensor->elements / (uint64) tensor->shape[0];
	float *scales =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * (Size) tensor->shape[0]);

	memset(scales, 0, sizeof(float) * (Size) tensor->shape[0]);
	for (uint64 first = 0; first < tensor->elements; first += FLOATS)
	{
		size_t n = Min(tensor->elements - first, FLOATS);

		read_floats(input, first, n, values);
		for (size_t i = 0; i < n; i++)
		{
			float *scale = &scales[(first + i) / width];
			float magnitude = fabsf(values[i]) / 127;

			if (magnitude > *scale)
				*scale = magnitude;
		}
	}
	for (int64 row = 0; rounded && row < tensor->shape[0]; row++)
		scales[row] = round_up(scales[row]);
	return scales;
}

static void
write_scales(Quantization *q, const DsStored *tensor, const float *scales)
{
	DsTensorData data = {.dtype = q->imported ? DS_DTYPE_F32 : DS_DTYPE_BF16, .shape_count = 1};
	size_t rows = (size_t) tensor->shape[0];
	char *bytes = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * rows);

	ds_dtype_from_float(data.dtype, scales, rows, bytes);
	data.name = psprintf("%s" DS_SCALE_SUFFIX, tensor->name);
	data.shape[0] = tensor->shape[0];
	data.data = bytes;
	data.bytes = rows * (ds_dtype_bits(data.dtype) / 8);
	ds_store_write(q->to, &data, 1);
	q->size_after += (int64) data.bytes;
	pfree(bytes);
}

static void
write_numbers(Quantization *q, Input *input, DsDtype dtype)
{
	DsStored stored = *input->tensor;
	uint64 width = stored.elements / (uint64) stored.shape[0];
	float *values = palloc(sizeof(float) * FLOATS);
	char *bytes = palloc(sizeof(float) * FLOATS);
	float *scales = NULL;
	DsTensorWriter *writer;

	if (dtype == DS_DTYPE_I8)
	{
		scales = row_scales(input, !q->imported, values);
		write_scales(q, &stored, scales);
	}
	stored.dtype = dtype;
	ds_stored_size(&stored);
	writer = ds_store_begin(q->to, &stored);
	for (uint64 first = 0; first < stored.elements; first += FLOATS)
	{
		size_t n = Min(stored.elements - first, FLOATS);

		read_floats(input, first, n, values);
		for (size_t i = 0; i < n; i++)
		{
			if (scales != NULL)
			{
				float scale = scales[(first + i) / width];

				values[i] = scale > 0 ? values[i] / scale : 0;
			}
			else if (dtype == DS_DTYPE_F16 && fabsf(values[i]) >= 65520)
				ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
								errmsg("tensor \"%s\" has a number that fp16 has not: %g",
									   stored.name, (double) values[i]),
								errhint("bf16 has the range of f32.")));
		}
		ds_dtype_from_float(dtype, values, n, bytes);
		ds_store_put(writer, bytes, n * (ds_dtype_bits(dtype) / 8));
	}
	ds_store_end(writer);
	q->size_after += (int64) stored.bytes;
	pfree(values);
	pfree(bytes);
	if (scales != NULL)
		pfree(scales);
}

/* A tokenizer that was learned */
static void
write_tokenizer(Quantization *q, DsReader *reader, const DsStored *stored)
{
	DsTensorData data = {.name = stored->name, .dtype = DS_DTYPE_U8, .shape_count = 1};
	size_t size;
	void *blob = ds_layout_tokenizer(reader, stored, &size);
	DsArena arena;
	DsStatus status;
	void *packed;

	ds_server_arena(&arena, CurrentMemoryContext);
	ds_check(ds_tokenizer_pack(blob, size, &arena, &packed, &data.bytes, &status), &status);
	data.data = packed;
	data.shape[0] = (int64) data.bytes;
	ds_store_write(q->to, &data, 1);
	q->size_after += (int64) data.bytes;
}

static void
write_tensor(Quantization *q, DsReader *reader, const char *name)
{
	Input input = {.reader = reader};
	DsStored stored;
	DsDtype dtype;
	bool changed = reader->last != reader->key.version;

	ds_reader_need(reader, name, &stored);
	if (!q->imported && stored.dtype == DS_DTYPE_U8)
	{
		write_tokenizer(q, reader, &stored);
		return;
	}
	dtype = dtype_of(q, &stored);
	/* bytes, and numbers of rows; what is i8 without scales is as short as it can be */
	if (stored.dtype == DS_DTYPE_U8 || stored.dtype == DS_DTYPE_I64 ||
		stored.dtype == DS_DTYPE_I32 ||
		(stored.dtype == dtype && stored.dtype != DS_DTYPE_I8 && !changed))
	{
		q->size_after += (int64) ds_store_copy(reader->key, name, q->to);
		return;
	}
	input.tensor = &stored;
	input.source = ds_stored_source(&input.stored, reader, "");
	if (changed)
	{
		input.whole = MemoryContextAllocHuge(CurrentMemoryContext, stored.bytes);
		ds_delta_read(reader, &stored, input.whole);
	}
	write_numbers(q, &input, dtype);
}

static void
write_tensors(Quantization *q)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch tensor", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	DsReader reader;
	Datum values[2];
	uint64 count;
	char **names;

	PushActiveSnapshot(GetTransactionSnapshot());
	ds_delta_open(&reader, q->from);
	values[0] = Int32GetDatum(reader.key.model);
	values[1] = Int32GetDatum(reader.key.version);
	/* what belongs to another tensor: scales, and the state of an optimizer */
	count = ds_catalog_execute("SELECT name FROM @.ds_tensor WHERE model = $1 AND version = $2 AND"
							   " chunk = 0 AND strpos(name, '#') = 0 ORDER BY name",
							   2, types, values, NULL);
	names = palloc(sizeof(char *) * (Size) Max(count, 1));
	for (uint64 i = 0; i < count; i++)
	{
		bool null;

		names[i] = TextDatumGetCString(ds_catalog_value(i, 1, &null));
	}
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		write_tensor(q, &reader, names[i]);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	ds_reader_close(&reader);
	PopActiveSnapshot();
}

/* ---- what it costs and gains ---- */

static DsText
keep_text(Quantization *q, const char *text)
{
	DsText utf8 = ds_text_utf8(text, strlen(text));
	char *copy = MemoryContextAlloc(q->context, utf8.length + 1);

	memcpy(copy, utf8.data, utf8.length);
	copy[utf8.length] = '\0';
	return (DsText){copy, utf8.length};
}

static void
keep_row(void *context, char **column, int columns)
{
	Quantization *q = context;

	if (q->count == TEXTS_MAX || column[0] == NULL || (columns > 1 && column[1] == NULL))
		return;
	q->texts[q->count] = keep_text(q, column[0]);
	if (columns > 1)
		q->seconds[q->count] = keep_text(q, column[1]);
	q->count++;
}

static void
read_texts(Quantization *q)
{
	int columns = q->scores ? 2 : 1;
	bool before;

	q->texts = palloc(sizeof(DsText) * TEXTS_MAX);
	q->seconds = palloc(sizeof(DsText) * TEXTS_MAX);
	before = ds_read_only_begin();
	ds_source_read("calibration", q->options.calibration, columns, columns,
				   q->scores ? "a query and a document" : "a text", keep_row, q);
	ds_read_only_end(before);
	if (q->count == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("the calibration query returned no texts")));
}

/* All texts one by one, as queries come; microseconds a text, the best of three rounds */
static float *
encode_all(Quantization *q, DsModelKey key, double *microseconds)
{
	DsModel *model = ds_model_open(key);
	float *out = MemoryContextAllocHuge(CurrentMemoryContext,
										sizeof(float) * (Size) q->count * (Size) model->dims);

	*microseconds = 0;
	for (int round = 0; round < 3; round++)
	{
		instr_time begin;
		instr_time end;
		double spent;

		INSTR_TIME_SET_CURRENT(begin);
		for (int i = 0; i < q->count; i++)
		{
			float *to = out + (Size) i * (Size) model->dims;

			CHECK_FOR_INTERRUPTS();
			if (q->scores)
				ds_imported_score(model, q->texts[i], &q->seconds[i], 1, to);
			else
				ds_model_encode(model, q->side, &q->texts[i], 1, NULL, to);
		}
		INSTR_TIME_SET_CURRENT(end);
		INSTR_TIME_SUBTRACT(end, begin);
		spent = INSTR_TIME_GET_MICROSEC(end) / (double) q->count;
		if (round == 0 || spent < *microseconds)
			*microseconds = spent;
	}
	return out;
}

static void
compare(Quantization *q)
{
	float *before = encode_all(q, q->from, &q->microseconds[0]);
	float *after = encode_all(q, q->to, &q->microseconds[1]);
	size_t *neighbours = palloc(sizeof(size_t) * 2 * NEAREST);
	double *norms = palloc(sizeof(double) * 2 * (Size) q->count);
	DsStatus status;

	ds_check(ds_agreement(before, after, (size_t) q->count, (size_t) q->dims,
						  q->scores ? 0 : NEAREST, neighbours, norms, &ds_server_cancel,
						  &q->agreement, &status),
			 &status);
}

/* ---- all of it ---- */

static void
find_model(Quantization *q)
{
	DsModelRow row;
	DsModel *model;

	q->from = ds_model_resolve(q->name);
	/* to use a model is not to have it */
	ds_model_find_owned(ds_model_name(q->from.model), &row);
	model = ds_model_open(q->from);
	q->imported = model->imported;
	q->dims = model->dims;
	if (model->imported)
	{
		q->config = model->pretrained;
		/* these stay while other versions are opened */
		for (int side = 0; side < 2; side++)
			q->config.prompt[side] = pstrdup(q->config.prompt[side]);
		q->scores = q->config.texts && q->config.spec.scores > 0;
		q->config.precision = q->target == TARGET_FP16	 ? DS_PRECISION_F32
							  : q->target == TARGET_BF16 ? DS_PRECISION_BF16
														 : DS_PRECISION_INT8;
	}
	q->side = DS_SIDE_DOCUMENT;
	if (model->mixed != NULL && model->mixed[DS_SIDE_DOCUMENT].text == NULL)
		q->side = DS_SIDE_QUERY;
	if (q->options.calibration != NULL &&
		(q->imported			? !q->config.texts
		 : model->mixed != NULL ? model->mixed[q->side].text == NULL
								: ds_config_features(&model->config)))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("option \"calibration\" is for models that read texts")));
	ds_model_check_name(q->new_name);
	ds_model_lock(q->new_name, false);
	if (ds_model_find(q->new_name, &row))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("model \"%s\" already exists", q->new_name)));
}

/* The config and the size of the version that is there */
static Jsonb *
read_version(Quantization *q)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	Datum values[2] = {Int32GetDatum(q->from.model), Int32GetDatum(q->from.version)};
	bool null;

	if (ds_catalog_execute("SELECT config, bytes, parameters FROM @.ds_model_version"
						   " WHERE model = $1 AND version = $2",
						   2, types, values, NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("model \"%s\" has been dropped", q->name)));
	q->size_before = DatumGetInt64(ds_catalog_value(0, 2, &null));
	q->parameters = DatumGetInt64(ds_catalog_value(0, 3, &null));
	return (Jsonb *) PG_DETOAST_DATUM_COPY(ds_catalog_value(0, 1, &null));
}

static void
finish_row(Quantization *q)
{
	static const Oid types[4] = {INT4OID, INT4OID, INT8OID, JSONBOID};
	StringInfoData report;
	Datum values[4] = {Int32GetDatum(q->to.model), Int32GetDatum(q->to.version),
					   Int64GetDatum(q->size_after)};

	initStringInfo(&report);
	appendStringInfo(&report, "{\"size_before\": " INT64_FORMAT ", \"size_after\": " INT64_FORMAT,
					 q->size_before, q->size_after);
	if (q->count > 0)
		appendStringInfo(&report,
						 ", \"texts\": %d, \"microseconds_before\": %.3f,"
						 " \"microseconds_after\": %.3f, \"cosine_mean\": %.7f,"
						 " \"cosine_min\": %.7f",
						 q->count, q->microseconds[0], q->microseconds[1], q->agreement.cosine_mean,
						 q->agreement.cosine_min);
	if (q->count > 0 && !q->scores)
		appendStringInfo(&report, ", \"same_nearest\": %.5f", q->agreement.same_nearest);
	appendStringInfoChar(&report, '}');
	values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(report.data));
	ds_catalog_execute("UPDATE @.ds_model_version SET bytes = $3, report = $4"
					   " WHERE model = $1 AND version = $2",
					   4, types, values, NULL);
}

static Datum
result_row(FunctionCallInfo fcinfo, const Quantization *q)
{
	TupleDesc desc;
	Datum values[9] = {CStringGetTextDatum(targets[q->target]),
					   Int64GetDatum(q->size_before),
					   Int64GetDatum(q->size_after),
					   Int32GetDatum(q->count),
					   Float8GetDatum(q->microseconds[0]),
					   Float8GetDatum(q->microseconds[1]),
					   Float8GetDatum(q->agreement.cosine_mean),
					   Float8GetDatum(q->agreement.cosine_min),
					   Float8GetDatum(q->agreement.same_nearest)};
	bool nulls[9] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 4; i < 9; i++)
		nulls[i] = q->count == 0 || (i == 8 && q->scores);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

DS_FUNCTION(ds_sql_quantize_model);
Datum
ds_sql_quantize_model(PG_FUNCTION_ARGS)
{
	Quantization *q = palloc0(sizeof(Quantization));
	char *target = text_to_cstring(PG_GETARG_TEXT_PP(2));
	DsVersionRow row = {0};

	PreventCommandIfReadOnly("ds_quantize_model()");
	q->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	q->new_name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	q->context = CurrentMemoryContext;
	while (targets[q->target] != NULL && strcmp(targets[q->target], target) != 0)
		q->target++;
	if (targets[q->target] == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown precision \"%s\"", target),
						errhint("Models are quantized to fp16, bf16 or int8.")));
	ds_fields_read(PG_GETARG_JSONB_P(3), "options", "option", option_fields, &q->options);
	find_model(q);
	SPI_connect();
	if (q->options.calibration != NULL)
		read_texts(q);
	row.config = read_version(q);
	if (q->imported)
		row.config = ds_imported_config_write(&q->config);
	row.dims = q->dims;
	row.precision = targets[q->target];
	row.parameters = q->parameters;
	row.source = psprintf("model \"%s\" version %d in %s", q->name, q->from.version, target);
	q->to =
		ds_version_insert(ds_model_create(q->new_name, row.config, row.dims), q->new_name, &row);
	write_tensors(q);
	ds_version_finish(q->to, 1, true);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	/* lays it out, so that what the precision cannot do shows now */
	(void) ds_model_open(q->to);
	if (q->count > 0)
		compare(q);
	PopActiveSnapshot();
	finish_row(q);
	SPI_finish();
	ds_catalog_model_changed();
	return result_row(fcinfo, q);
}
