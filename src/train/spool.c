/*
 * spool.c
 *		The source query of a training: its rows, read once, into a temporary file.
 *
 * A row in the file: number, weight, how many documents and labels it has, the
 * labels, the numbers of its pictures, and then its texts, each after its length.
 */
#include "train/spool_columns.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "model/catalog.h"
#include "model/model.h"
#include "vector/embedding.h"

#define FETCH_ROWS 1000

static void
close_file(void *argument)
{
	DsSpool *source = argument;

	if (source->file != NULL)
		BufFileClose(source->file);
	source->file = NULL;
}

DsSpool *
ds_spool_create(DsSpoolKind query, DsSpoolKind document)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "deepsearch training source", ALLOCSET_DEFAULT_SIZES);
	DsSpool *source = MemoryContextAllocZero(context, sizeof(DsSpool));
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));
	MemoryContext caller = MemoryContextSwitchTo(context);

	source->context = context;
	source->kind[0] = query;
	source->kind[1] = document;
	initStringInfo(&source->bytes);
	source->file = BufFileCreateTemp(true);
	MemoryContextSwitchTo(caller);
	callback->func = close_file;
	callback->arg = source;
	MemoryContextRegisterResetCallback(context, callback);
	return source;
}

void
ds_spool_close(DsSpool *source)
{
	MemoryContextDelete(source->context);
}

static void
put(DsSpool *source, const void *data, size_t size)
{
	if (size > 0)
		BufFileWrite(source->file, unconstify(void *, data), size);
}

static void
get(DsSpool *source, void *data, size_t size)
{
	if (size > 0 && BufFileRead(source->file, data, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read from temporary file: %m")));
}

/* ---- a row ---- */

static void
show_row(void *argument)
{
	const DsSpool *source = argument;

	errcontext("row " INT64_FORMAT " of the training source", source->rows);
}

static void
bad_row(const DsSpool *source, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("row " INT64_FORMAT " of the training source has %s", source->rows, what)));
}

static void
make_room(DsSpool *source, size_t documents)
{
	size_t room = Max(documents + 1, source->room * 2);

	if (documents + 1 <= source->room)
		return;
	if (source->room == 0)
	{
		source->row.text = MemoryContextAlloc(source->context, sizeof(DsText) * room);
		source->row.picture = MemoryContextAlloc(source->context, sizeof(uint32) * room);
		source->row.label = MemoryContextAlloc(source->context, sizeof(float) * room);
	}
	else
	{
		source->row.text = repalloc(source->row.text, sizeof(DsText) * room);
		source->row.picture = repalloc(source->row.picture, sizeof(uint32) * room);
		source->row.label = repalloc(source->row.label, sizeof(float) * room);
	}
	source->room = room;
}

/* A value as UTF-8, in the current context */
static DsText
value_text(Datum value, Oid type)
{
	Oid base = getBaseType(type);

	if (base == TEXTOID || base == VARCHAROID || base == BPCHAROID)
	{
		text *packed = DatumGetTextPP(value);

		return ds_text_utf8(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	}
	else
	{
		Oid output;
		bool is_varlena;
		char *string;

		getTypeOutputInfo(type, &output, &is_varlena);
		string = OidOutputFunctionCall(output, value);
		return ds_text_utf8(string, strlen(string));
	}
}

/* Features as a text of float bytes; all of one side have the same width. */
static DsText
value_features(DsSpool *source, int side, Datum value, Oid type)
{
	const float *numbers;
	int count;

	if (type == FLOAT4ARRAYOID)
		numbers = ds_features_from_array(value, &count);
	else if (type == ds_catalog()->embedding)
	{
		DsEmbedding *embedding = DatumGetEmbedding(value);

		numbers = embedding->x;
		count = embedding->dim;
	}
	else
		numbers = ds_features_from_text(value_text(value, type), &count);
	if (source->dims[side] == 0)
		source->dims[side] = (uint32) count;
	else if (source->dims[side] != (uint32) count)
		bad_row(source,
				psprintf("%d features where rows before have %u", count, source->dims[side]));
	return (DsText){(const char *) numbers, sizeof(float) * (size_t) count};
}

static double
value_number(Datum value, Oid type)
{
	Oid output;
	bool is_varlena;

	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		default:
			getTypeOutputInfo(type, &output, &is_varlena);
			return DatumGetFloat8(DirectFunctionCall1(
				float8in, CStringGetDatum(OidOutputFunctionCall(output, value))));
	}
}

static void
put_text(DsSpool *source, int side, uint32 i, Datum value, Oid type)
{
	source->row.text[i] = source->kind[side] == DS_SPOOL_FEATURES
							  ? value_features(source, side, value, type)
							  : value_text(value, type);
}

/* false where it is bad and counts as none */
static bool
put_picture(DsSpool *source, int side, uint32 i, Datum value)
{
	bytea *file = DatumGetByteaPP(value);
	bool failed = false;
	ErrorContextCallback callback = {error_context_stack, show_row, source};

	error_context_stack = &callback;
	source->row.picture[i] =
		ds_pictures_add(source->pictures[side], VARDATA_ANY(file), VARSIZE_ANY_EXHDR(file),
						source->bad_is_none ? &failed : NULL);
	error_context_stack = callback.previous;
	source->bad += failed;
	return !failed;
}

static void
begin_item(DsSpool *source, uint32 i)
{
	source->row.text[i] = (DsText){"", 0};
	source->row.picture[i] = DS_NO_PICTURE;
}

static void
add_document(DsSpool *source, const DsSpoolColumn *column, Datum value)
{
	DsSpoolRow *row = &source->row;
	uint32 i = row->documents + 1;

	if (row->documents == DS_SPOOL_DOCUMENTS_MAX)
		bad_row(source, psprintf("more than %d documents", DS_SPOOL_DOCUMENTS_MAX));
	make_room(source, i);
	begin_item(source, i);
	if (source->kind[1] != DS_SPOOL_IMAGE)
		put_text(source, 1, i, value, column->type);
	else if (!put_picture(source, 1, i, value))
	{
		/* labels go by place */
		if (source->labels && (column->array || row->documents > 0))
			bad_row(source, "a picture among its documents that cannot be read");
		return;
	}
	row->documents++;
}

/* A text and a picture; false where both are NULL */
static bool
put_both(DsSpool *source, int place, uint32 i, const DsSpoolColumns *columns, HeapTuple tuple,
		 TupleDesc desc)
{
	int side = place > 0;
	bool null[2];
	Datum text = SPI_getbinval(tuple, desc, columns->text[place].number, &null[0]);
	Datum picture = SPI_getbinval(tuple, desc, columns->picture[place].number, &null[1]);

	make_room(source, i);
	begin_item(source, i);
	if (!null[0])
		put_text(source, side, i, text, columns->text[place].type);
	if (!null[1])
		null[1] = !put_picture(source, side, i, picture);
	return !null[0] || !null[1];
}

/* The elements of an array column, or the value of another */
static void
add_documents(DsSpool *source, const DsSpoolColumn *column, Datum value)
{
	Datum *elements;
	bool *nulls;
	int count;
	int16 length;
	bool by_value;
	char align;

	if (!column->array)
	{
		add_document(source, column, value);
		return;
	}
	get_typlenbyvalalign(column->type, &length, &by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(value), column->type, length, by_value, align, &elements,
					  &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		/* labels go by place */
		if (nulls[i] && source->labels)
			bad_row(source, "a NULL among its documents");
		if (!nulls[i])
			add_document(source, column, elements[i]);
	}
}

/* false when there is none */
static bool
read_labels(DsSpool *source, const DsSpoolColumn *column, HeapTuple tuple, TupleDesc desc)
{
	DsSpoolRow *row = &source->row;
	Datum *elements = NULL;
	bool *nulls = NULL;
	int count = 1;
	bool null;
	Datum value = SPI_getbinval(tuple, desc, column->number, &null);

	if (null)
		return false;
	if (column->array)
	{
		int16 length;
		bool by_value;
		char align;

		get_typlenbyvalalign(column->type, &length, &by_value, &align);
		deconstruct_array(DatumGetArrayTypeP(value), column->type, length, by_value, align,
						  &elements, &nulls, &count);
	}
	else
	{
		elements = &value;
		nulls = &null;
	}
	if ((uint32) count != row->documents)
		bad_row(source, psprintf("%d labels for %u documents", count, row->documents));
	for (int i = 0; i < count; i++)
	{
		row->label[i] =
			nulls[i] ? get_float4_nan() : (float) value_number(elements[i], column->type);
		if (!isfinite(row->label[i]))
			bad_row(source, "a label that is no finite number");
	}
	row->labels = (uint32) count;
	return true;
}

static bool
read_query(DsSpool *source, const DsSpoolColumns *columns, HeapTuple tuple, TupleDesc desc)
{
	bool image = source->kind[0] == DS_SPOOL_IMAGE;
	const DsSpoolColumn *column = image ? &columns->picture[0] : &columns->text[0];
	bool null;
	Datum value;

	if (source->kind[0] == DS_SPOOL_BOTH)
		return put_both(source, 0, 0, columns, tuple, desc);
	begin_item(source, 0);
	value = SPI_getbinval(tuple, desc, column->number, &null);
	if (null)
		return false;
	if (image)
		return put_picture(source, 0, 0, value);
	put_text(source, 0, 0, value, column->type);
	return true;
}

/* Those of a place, 1 or 2; false where it is NULL */
static bool
read_documents(DsSpool *source, int place, const DsSpoolColumns *columns, HeapTuple tuple,
			   TupleDesc desc)
{
	const DsSpoolColumn *column =
		source->kind[1] == DS_SPOOL_IMAGE ? &columns->picture[place] : &columns->text[place];
	bool null;
	Datum value;

	if (source->kind[1] == DS_SPOOL_BOTH)
	{
		if (!put_both(source, place, source->row.documents + 1, columns, tuple, desc))
			return false;
		source->row.documents++;
		return true;
	}
	value = SPI_getbinval(tuple, desc, column->number, &null);
	if (null)
		return false;
	add_documents(source, column, value);
	return true;
}

static bool
read_row(DsSpool *source, const DsSpoolColumns *columns, HeapTuple tuple, TupleDesc desc)
{
	DsSpoolRow *row = &source->row;
	bool null;
	Datum value;

	row->number = source->rows;
	row->documents = row->labels = 0;
	row->weight = 1;
	make_room(source, 1);
	if (!read_query(source, columns, tuple, desc) ||
		!read_documents(source, 1, columns, tuple, desc) || row->documents == 0)
		return false;
	if (columns->text[2].number != 0 || columns->picture[2].number != 0)
		(void) read_documents(source, 2, columns, tuple, desc);
	if (source->labels && !read_labels(source, &columns->label, tuple, desc))
		return false;
	if (source->weights)
	{
		value = SPI_getbinval(tuple, desc, columns->weight.number, &null);
		if (!null)
			row->weight = (float) value_number(value, columns->weight.type);
		if (!isfinite(row->weight) || row->weight < 0)
			bad_row(source, "a weight that is no finite number from 0 upwards");
	}
	return true;
}

static void
write_row(DsSpool *source)
{
	const DsSpoolRow *row = &source->row;

	put(source, &row->number, sizeof(row->number));
	put(source, &row->weight, sizeof(row->weight));
	put(source, &row->documents, sizeof(row->documents));
	put(source, &row->labels, sizeof(row->labels));
	put(source, row->label, sizeof(float) * row->labels);
	put(source, row->picture, sizeof(uint32) * (row->documents + 1));
	for (uint32 i = 0; i <= row->documents; i++)
	{
		uint32 length = (uint32) row->text[i].length;

		put(source, &length, sizeof(length));
		put(source, row->text[i].data, length);
	}
}

void
ds_spool_read(DsSpool *source, const char *sql, void (*see)(void *context, const DsSpoolRow *row),
			  void *context)
{
	bool before;
	MemoryContext row_context;
	TupleDesc desc;
	SPIPlanPtr plan;
	Portal portal;
	DsSpoolColumns columns;

	/* functions that the query calls may not write either */
	before = ds_read_only_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = ds_spool_prepare(sql, source->parameters, "the training source",
							source->hint != NULL ? source->hint : DS_SPOOL_SHAPE, &desc);
	ds_spool_find_columns(source, desc, &columns);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "deepsearch source row",
										ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open(
		NULL, plan, source->parameters != NULL ? source->parameters->values : NULL, NULL, true);
	for (;;)
	{
		SPITupleTable *table;
		uint64 count;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		table = SPI_tuptable;
		count = SPI_processed;
		if (count == 0)
			break;
		for (uint64 i = 0; i < count; i++)
		{
			MemoryContext caller = MemoryContextSwitchTo(row_context);

			CHECK_FOR_INTERRUPTS();
			source->rows++;
			if (read_row(source, &columns, table->vals[i], table->tupdesc))
			{
				source->kept++;
				write_row(source);
				if (see != NULL)
					see(context, &source->row);
			}
			else
				source->skipped++;
			MemoryContextSwitchTo(caller);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(table);
	}
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	MemoryContextDelete(row_context);
	PopActiveSnapshot();
	ds_read_only_end(before);
}

/* ---- the rows once more ---- */

void
ds_spool_rewind(DsSpool *source)
{
	if (BufFileSeek(source->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not rewind temporary file: %m")));
}

const DsSpoolRow *
ds_spool_next(DsSpool *source)
{
	DsSpoolRow *row = &source->row;
	size_t read = BufFileRead(source->file, &row->number, sizeof(row->number));

	if (read == 0)
		return NULL;
	get(source, &row->weight, sizeof(row->weight));
	get(source, &row->documents, sizeof(row->documents));
	get(source, &row->labels, sizeof(row->labels));
	make_room(source, row->documents);
	get(source, row->label, sizeof(float) * row->labels);
	get(source, row->picture, sizeof(uint32) * (row->documents + 1));
	resetStringInfo(&source->bytes);
	for (uint32 i = 0; i <= row->documents; i++)
	{
		uint32 length;

		get(source, &length, sizeof(length));
		enlargeStringInfo(&source->bytes, (int) length);
		get(source, source->bytes.data + source->bytes.len, length);
		source->bytes.len += (int) length;
		row->text[i].length = length;
	}
	/* the buffer may have moved while it grew */
	for (uint32 i = 0, at = 0; i <= row->documents; i++)
	{
		row->text[i].data = source->bytes.data + at;
		at += (uint32) row->text[i].length;
	}
	return row;
}
