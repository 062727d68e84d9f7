/*
 * plan.c
 *		The files of a model that is exported: what they are made of, and writing them.
 */
#include "format/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PIECE ((size_t) 1 << 18) /* numbers of a tensor read at once: 1 MB */
#define BLOCK ((size_t) 1 << 21) /* numbers of a tensor that is transposed held at once: 8 MB */

void
ds_plan_init(DsPlan *plan, DsArena *arena)
{
	memset(plan, 0, sizeof(*plan));
	plan->arena = arena;
}

DsCode
ds_plan_begin(DsPlan *plan, const char *name, DsPlanFile **file, DsStatus *status)
{
	if (plan->file_count == DS_PLAN_FILES)
		return ds_fail(status, DS_TOO_LARGE, "the model has more than %d files", DS_PLAN_FILES);
	*file = &plan->files[plan->file_count++];
	memset(*file, 0, sizeof(**file));
	(*file)->name = name;
	return DS_OK;
}

static DsCode
add_part(DsPlan *plan, DsPlanFile *file, const DsPlanPart *part, DsStatus *status)
{
	if (file->part_count == file->part_capacity)
	{
		size_t capacity = file->part_capacity > 0 ? 2 * file->part_capacity : 16;
		DsPlanPart *parts = ds_arena_alloc(plan->arena, capacity, sizeof(DsPlanPart));

		if (parts == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
		if (file->part_count > 0)
			memcpy(parts, file->parts, file->part_count * sizeof(DsPlanPart));
		file->parts = parts;
		file->part_capacity = capacity;
	}
	if (__builtin_add_overflow(file->size, part->length, &file->size))
		return ds_fail(status, DS_TOO_LARGE, "file \"%s\" is too large", file->name);
	file->parts[file->part_count++] = *part;
	return DS_OK;
}

DsCode
ds_plan_bytes(DsPlan *plan, DsPlanFile *file, const void *bytes, uint64_t length, DsStatus *status)
{
	DsPlanPart part = {.bytes = bytes, .length = length};

	return length > 0 ? add_part(plan, file, &part, status) : DS_OK;
}

DsCode
ds_plan_tensor(DsPlan *plan, DsPlanFile *file, const DsPlanPart *part, DsStatus *status)
{
	DsPlanPart copy = *part;
	uint64_t elements;
	unsigned size = ds_dtype_bits(part->dtype) / 8;

	if (size == 0 || __builtin_mul_overflow(part->rows, part->columns, &elements) ||
		__builtin_mul_overflow(elements, size, &copy.length))
		return ds_fail(status, DS_TOO_LARGE, "tensor \"%s\" is too large", part->tensor);
	return add_part(plan, file, &copy, status);
}

DsCode
ds_plan_text(DsPlan *plan, const char *name, const DsBuffer *text, DsStatus *status)
{
	DsPlanFile *file = NULL;
	DsCode code = ds_buffer_check(text, status);

	if (code == DS_OK)
		code = ds_plan_begin(plan, name, &file, status);
	return code == DS_OK ? ds_plan_bytes(plan, file, text->bytes, text->length, status) : code;
}

const DsPlanFile *
ds_plan_find(const DsPlan *plan, const char *name)
{
	for (size_t i = 0; i < plan->file_count; i++)
		if (strcmp(plan->files[i].name, name) == 0)
			return &plan->files[i];
	return NULL;
}

bool
ds_plan_part(const DsPlanStored *stored, const char *name, uint64_t rows, uint64_t columns,
			 bool linear, DsPlanPart *part)
{
	uint32_t rank;
	uint64_t shape[4];

	memset(part, 0, sizeof(*part));
	part->rows = rows;
	part->columns = columns;
	snprintf(part->tensor, sizeof(part->tensor), "%s", name);
	if (stored->describe(stored->context, part->tensor, &part->dtype, &rank, shape))
		return true;
	if (!linear || strlen(name) + 3 > sizeof(part->tensor))
		return false;
	strcat(part->tensor, "_t");
	part->rows = columns;
	part->columns = rows;
	part->transpose = true;
	return stored->describe(stored->context, part->tensor, &part->dtype, &rank, shape);
}

/* ---- writing ---- */

typedef struct Writing
{
	const DsPlanPart *part;
	const DsTensorSource *source;
	const DsBlobWriter *writer;
	const DsCancel *cancel;
	DsStatus *status;
	float *numbers; /* [PIECE] */
	void *bytes; /* [PIECE], of 8 bytes each */
} Writing;

/* Numbers of the tensor, of which the first has this number, as they are written; in place for i8 */
static DsCode
write_numbers(Writing *w, float *numbers, size_t count)
{
	for (size_t done = 0; done < count;)
	{
		size_t n = count - done < PIECE ? count - done : PIECE;

		ds_dtype_from_float(w->part->dtype, numbers + done, n, w->bytes);
		{
			DsCode code = w->writer->write(w->writer->context, w->bytes,
										   n * (ds_dtype_bits(w->part->dtype) / 8), w->status);

			if (code != DS_OK)
				return code;
		}
		done += n;
	}
	return DS_OK;
}

/* Read some numbers, and scale them. */
static DsCode
read_numbers(Writing *w, uint64_t first, size_t count, float *out)
{
	DsCode code;

	if (ds_cancelled(w->cancel))
		return ds_fail(w->status, DS_CANCELLED, "cancelled");
	code = w->source->read(w->source->context, w->part->tensor, first, count, out, w->status);
	if (code == DS_OK && w->part->scales != NULL)
		for (size_t i = 0; i < count; i++)
		{
			uint64_t columns = w->part->columns;
			float scale = w->part->scales[w->part->column_scales ? (first + i) % columns
																 : (first + i) / columns];

			out[i] = scale > 0 ? out[i] / scale : 0;
		}
	return code;
}

static DsCode
write_straight(Writing *w)
{
	uint64_t elements = w->part->rows * w->part->columns;
	DsCode code = DS_OK;

	for (uint64_t first = 0; first < elements && code == DS_OK; first += PIECE)
	{
		size_t n = elements - first < PIECE ? (size_t) (elements - first) : PIECE;

		code = read_numbers(w, first, n, w->numbers);
		if (code == DS_OK)
			code = write_numbers(w, w->numbers, n);
	}
	return code;
}

/* Where a column of a tensor that is transposed goes */
static uint64_t
place_of(const DsPlanPart *part, uint64_t column)
{
	if (part->inner <= 1)
		return column;
	return column % part->inner * (part->columns / part->inner) + column / part->inner;
}

/* Some columns at a time, for which all of the tensor is read */
static DsCode
write_transposed(Writing *w, DsArena *arena)
{
	uint64_t rows = w->part->rows;
	uint64_t columns = w->part->columns;
	uint64_t width = BLOCK / rows > 0 ? BLOCK / rows : 1;
	float *block;

	if (width > columns)
		width = columns;
	block = ds_arena_alloc(arena, (size_t) (width * rows), sizeof(float));
	if (block == NULL)
		return ds_fail(w->status, DS_OUT_OF_MEMORY, "out of memory for tensor \"%s\"",
					   w->part->tensor);
	for (uint64_t begin = 0; begin < columns; begin += width)
	{
		uint64_t end = begin + width < columns ? begin + width : columns;
		DsCode code;

		for (uint64_t first = 0; first < rows * columns; first += PIECE)
		{
			uint64_t left = rows * columns - first;
			size_t n = left < PIECE ? (size_t) left : PIECE;

			code = read_numbers(w, first, n, w->numbers);
			if (code != DS_OK)
				return code;
			for (size_t i = 0; i < n; i++)
			{
				uint64_t row = (first + i) / columns;
				uint64_t column = place_of(w->part, (first + i) % columns);

				if (column >= begin && column < end)
					block[(column - begin) * rows + row] = w->numbers[i];
			}
		}
		code = write_numbers(w, block, (size_t) ((end - begin) * rows));
		if (code != DS_OK)
			return code;
	}
	return DS_OK;
}

DsCode
ds_plan_write(const DsPlanFile *file, const DsTensorSource *source, const DsBlobWriter *writer,
			  DsArena *arena, const DsCancel *cancel, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(arena);
	Writing w = {.source = source, .writer = writer, .cancel = cancel, .status = status};
	DsCode code = DS_OK;

	w.numbers = ds_arena_alloc(arena, PIECE, sizeof(float));
	w.bytes = ds_arena_alloc(arena, PIECE, sizeof(int64_t));
	if (w.numbers == NULL || w.bytes == NULL)
		code = ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	for (size_t i = 0; i < file->part_count && code == DS_OK; i++)
	{
		uint64_t values = 0;

		w.part = &file->parts[i];
		if (w.part->tensor[0] == '\0')
			code = writer->write(writer->context, w.part->bytes, (size_t) w.part->length, status);
		else if (!source->find(source->context, w.part->tensor, &values) ||
				 values != w.part->rows * w.part->columns)
			code = ds_fail(status, DS_BAD_DATA, "tensor \"%s\" is missing or has another size",
						   w.part->tensor);
		else if (w.part->transpose && w.part->columns > 1 &&
				 (w.part->rows > 1 || w.part->inner > 1))
		{
			DsArenaMark inner = ds_arena_mark(arena);

			code = write_transposed(&w, arena);
			ds_arena_rewind(arena, inner);
		}
		else
			code = write_straight(&w);
	}
	ds_arena_rewind(arena, mark);
	return code;
}

DsCode
ds_plan_scales(DsPlanPart *part, const DsTensorSource *source, DsArena *arena,
			   const DsCancel *cancel, DsStatus *status)
{
	const size_t piece = 65536;
	bool by_column = part->column_scales;
	float *scales =
		ds_arena_zero(arena, (size_t) (by_column ? part->columns : part->rows), sizeof(float));
	float *values = ds_arena_alloc(arena, piece, sizeof(float));
	uint64_t elements = part->rows * part->columns;
	uint64_t found = 0;
	DsCode code = DS_OK;

	if (scales == NULL || values == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	if (!source->find(source->context, part->tensor, &found) || found != elements)
		return ds_fail(status, DS_BAD_DATA, "tensor \"%s\" has another size", part->tensor);
	for (uint64_t first = 0; first < elements && code == DS_OK; first += piece)
	{
		size_t n = elements - first < piece ? (size_t) (elements - first) : piece;

		if (ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		code = source->read(source->context, part->tensor, first, n, values, status);
		for (size_t i = 0; i < n && code == DS_OK; i++)
		{
			float *scale =
				&scales[by_column ? (first + i) % part->columns : (first + i) / part->columns];
			float magnitude = fabsf(values[i]) / 127;

			if (magnitude > *scale)
				*scale = magnitude;
		}
	}
	part->scales = scales;
	return code;
}
