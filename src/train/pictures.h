/*
 * pictures.h
 *		The pictures of a training, decoded once.
 *
 * A picture is what its file's bytes are: files that are equal have one number, by
 * their digest.  Pixels, 8 bits a channel and as large as the tower takes them, stand in
 * memory up to maintenance_work_mem and in a temporary file beyond.
 */
#ifndef DS_TRAIN_PICTURES_H
#define DS_TRAIN_PICTURES_H

#include "server.h"

#include "image/transform.h"
#include "nn/training.h"

typedef struct DsPictures DsPictures;

/* none yet, in a new context below the current one; all pictures become as large as
 * transform says (DS_FIT_EXACT, or a crop) */
extern DsPictures *ds_pictures_create(const DsImageTransform *transform);

/*
 * The number of a file's picture, from 0 on; decoded where it is new.  A bad one is an error
 * as of ds_encode(), or where failed is given, true there and DS_NO_PICTURE.
 */
extern uint32 ds_pictures_add(DsPictures *pictures, const char *file, size_t length, bool *failed);

extern uint32 ds_pictures_count(const DsPictures *pictures);
extern size_t ds_pictures_size(const DsPictures *pictures); /* bytes of one's pixels */
extern uint64 ds_pictures_key(const DsPictures *pictures, uint32 number); /* of its digest */

/* Pixels [height, width, 3] of one to out */
extern void ds_pictures_get(DsPictures *pictures, uint32 number, uint8 *out);

/*
 * Numbers from 0 on for the pictures of a batch, in the order in which they are first asked
 * for: _begin, then _place for each, which says by *fresh whether it had none.
 */
extern void ds_pictures_begin(DsPictures *pictures);
extern uint32 ds_pictures_place(DsPictures *pictures, uint32 number, bool *fresh);

#endif /* DS_TRAIN_PICTURES_H */
