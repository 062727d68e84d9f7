/*
 * pictures.c
 *		The pictures of a training, decoded once.
 */
#include "train/pictures.h"

#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "image/image.h"
#include "model/model.h"

#define DIGEST 32

typedef struct Entry
{
	uint8 digest[DIGEST];
	uint32 number;
} Entry;

struct DsPictures
{
	MemoryContext context;
	MemoryContext work; /* of one picture */
	DsImageTransform transform;
	size_t size;
	HTAB *numbers;
	uint32 count;
	uint64 *keys; /* [count] */
	size_t keys_allocated;
	uint8 *memory; /* pixels, while they fit */
	size_t memory_allocated; /* in pictures */
	BufFile *file; /* all of them, when they do not */
	/* places in the batch at hand: of those whose batch is it */
	uint32 batch;
	uint32 *place_batch; /* [count] */
	uint32 *place;
	uint32 places_allocated;
	uint32 placed;
};

static void
close_file(void *argument)
{
	DsPictures *pictures = argument;

	if (pictures->file != NULL)
		BufFileClose(pictures->file);
	pictures->file = NULL;
}

DsPictures *
ds_pictures_create(const DsImageTransform *transform)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "deepsearch training pictures", ALLOCSET_DEFAULT_SIZES);
	DsPictures *pictures = MemoryContextAllocZero(context, sizeof(DsPictures));
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));
	HASHCTL control = {.keysize = DIGEST, .entrysize = sizeof(Entry), .hcxt = context};

	pictures->context = context;
	pictures->work =
		AllocSetContextCreate(context, "deepsearch training picture", ALLOCSET_DEFAULT_SIZES);
	pictures->transform = *transform;
	pictures->size = transform->crop_width > 0
						 ? (size_t) 3 * transform->crop_width * transform->crop_height
						 : (size_t) 3 * transform->width * transform->height;
	pictures->numbers = hash_create("deepsearch training pictures", 1024, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	callback->func = close_file;
	callback->arg = pictures;
	MemoryContextRegisterResetCallback(context, callback);
	return pictures;
}

uint32
ds_pictures_count(const DsPictures *pictures)
{
	return pictures->count;
}

size_t
ds_pictures_size(const DsPictures *pictures)
{
	return pictures->size;
}

uint64
ds_pictures_key(const DsPictures *pictures, uint32 number)
{
	return pictures->keys[number];
}

/* ---- one more ---- */

static void *
grown(MemoryContext context, void *memory, size_t *allocated, size_t needed, size_t size)
{
	size_t count = Max(*allocated * 2, needed + 64);

	if (needed <= *allocated)
		return memory;
	memory = memory == NULL ? MemoryContextAllocHuge(context, count * size)
							: repalloc_huge(memory, count * size);
	*allocated = count;
	return memory;
}

static void
keep(DsPictures *pictures, uint8 *pixels)
{
	size_t held = (size_t) pictures->count * pictures->size;

	if (pictures->file == NULL && held + pictures->size > (size_t) maintenance_work_mem * 1024)
	{
		MemoryContext caller = MemoryContextSwitchTo(pictures->context);

		pictures->file = BufFileCreateTemp(true);
		MemoryContextSwitchTo(caller);
		if (pictures->memory != NULL)
		{
			BufFileWrite(pictures->file, pictures->memory, held);
			pfree(pictures->memory);
		}
		pictures->memory = NULL;
	}
	if (pictures->file != NULL)
		BufFileWrite(pictures->file, pixels, pictures->size);
	else
	{
		pictures->memory = grown(pictures->context, pictures->memory, &pictures->memory_allocated,
								 (size_t) pictures->count + 1, pictures->size);
		memcpy(pictures->memory + held, pixels, pictures->size);
	}
}

/* The file's pixels; false where it is bad */
static bool
decode(DsPictures *pictures, const char *file, size_t length, bool *failed, DsImage *out)
{
	DsImageLimits limits = {.max_bytes = (size_t) ds_setting_image_max_bytes * 1024,
							.max_pixels = (uint64_t) ds_setting_image_max_pixels};
	DsArena arena;
	DsArena scratch;
	DsImage image;
	DsStatus status;
	DsCode code;

	/* both go with the context */
	ds_server_arena(&arena, pictures->work);
	ds_server_arena(&scratch, pictures->work);
	code = ds_image_decode(file, length, &limits, &arena, &scratch, &ds_server_cancel, &image,
						   &status);
	if (code == DS_OK)
		code = ds_image_transform_pixels(&pictures->transform, &image, &arena, &scratch,
										 &ds_server_cancel, out, &status);
	if (code != DS_OK)
		ds_image_refuse(code, &status, failed);
	return code == DS_OK;
}

static void
digest_of(const char *file, size_t length, uint8 *digest)
{
	bytea *made = DatumGetByteaPP(DirectFunctionCall1(
		sha256_bytea, PointerGetDatum(cstring_to_text_with_len(file, (int) length))));

	memcpy(digest, VARDATA_ANY(made), DIGEST);
}

uint32
ds_pictures_add(DsPictures *pictures, const char *file, size_t length, bool *failed)
{
	MemoryContext caller = MemoryContextSwitchTo(pictures->work);
	uint32 number = DS_NO_PICTURE;
	uint8 digest[DIGEST];
	Entry *entry;
	DsImage image;

	digest_of(file, length, digest);
	entry = hash_search(pictures->numbers, digest, HASH_FIND, NULL);
	if (entry != NULL)
		number = entry->number;
	else if (decode(pictures, file, length, failed, &image))
	{
		uint8 *pixels = image.pixels;

		if (pictures->count == DS_NO_PICTURE - 1)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("the training source gives too many pictures")));
		keep(pictures, pixels);
		number = pictures->count;
		entry = hash_search(pictures->numbers, digest, HASH_ENTER, NULL);
		entry->number = number;
		pictures->keys = grown(pictures->context, pictures->keys, &pictures->keys_allocated,
							   (size_t) number + 1, sizeof(uint64));
		memcpy(&pictures->keys[number], digest, sizeof(uint64));
		pictures->count++;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(pictures->work);
	return number;
}

/* ---- reading ---- */

void
ds_pictures_get(DsPictures *pictures, uint32 number, uint8 *out)
{
	uint64 place = (uint64) number * pictures->size;

	if (pictures->memory != NULL)
	{
		memcpy(out, pictures->memory + place, pictures->size);
		return;
	}
	/* files of a temporary file have 1 GB each */
	if (BufFileSeek(pictures->file, (int) (place / ((uint64) 1 << 30)),
					(off_t) (place % ((uint64) 1 << 30)), SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not seek in temporary file: %m")));
	if (BufFileRead(pictures->file, out, pictures->size) != pictures->size)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read from temporary file: %m")));
}

void
ds_pictures_begin(DsPictures *pictures)
{
	if (pictures->places_allocated < pictures->count)
	{
		Size size = sizeof(uint32) * pictures->count;

		/* there is no batch before all pictures are there */
		pictures->place_batch =
			MemoryContextAllocExtended(pictures->context, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		pictures->place = MemoryContextAllocHuge(pictures->context, size);
		pictures->places_allocated = pictures->count;
	}
	pictures->batch++;
	pictures->placed = 0;
}

uint32
ds_pictures_place(DsPictures *pictures, uint32 number, bool *fresh)
{
	*fresh = pictures->place_batch[number] != pictures->batch;
	if (*fresh)
	{
		pictures->place_batch[number] = pictures->batch;
		pictures->place[number] = pictures->placed++;
	}
	return pictures->place[number];
}
