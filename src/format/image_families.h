/*
 * image_families.h
 *		What image_source.c and image_families.c share.
 */
#ifndef DS_IMAGE_FAMILIES_H
#define DS_IMAGE_FAMILIES_H

#include "format/families.h"
#include "image/transform.h"
#include "nn/image_spec.h"

typedef struct ImageFamily
{
	const char *model_type;
	bool texts; /* one of two towers */
	/* of two towers: is the other one known here? */
	bool (*usable)(Source *source);
	/*
	 * The description, and how pictures are made ready where no file says so.  A CONV's
	 * size is that of the pictures.
	 */
	DsCode (*read)(Source *source, bool classes, DsImageSpec *spec, DsImageTransform *transform);
	/* the tensor of a neutral name, or NULL; expected gets the name that was looked for */
	const DsTensorInfo *(*tensor)(const Source *source, const char *neutral, char *expected,
								  size_t size);
} ImageFamily;

extern const ImageFamily *ds_image_family_find(DsJson model_type);
extern const ImageFamily *ds_image_family_open_clip(void);
extern const ImageFamily *ds_image_family_torchvision(void);
extern const char *ds_image_family_names(void);

#endif /* DS_IMAGE_FAMILIES_H */
