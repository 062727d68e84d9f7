/*
 * families.h
 *		What the parts of encoder_source.h share: families.c, source_files.c,
 *		source_modules.c, encoder_source.c.
 */
#ifndef DS_FAMILIES_H
#define DS_FAMILIES_H

#include "base/json.h"
#include "format/encoder_source.h"

/* What is known of a folder while it is read */
typedef struct Source
{
	const DsFolder *folder;
	DsArena *arena;
	DsArena *scratch;
	DsStatus *status;
	DsEncoderSource *out;
	DsJson config; /* config.json, or the part of it that is about texts */
	const char *config_name;
	DsTensorFiles *files;
	const struct Family *family;
	const char *prefix; /* before the names of tensors */
	bool scores; /* a head for sequence classification */
} Source;

/* A pair of names: the neutral one and the file's.  '#' stands for a layer's number; without a suffix
 * .weight or .bias both names get the same one. */
typedef struct Name
{
	const char *neutral;
	const char *file;
} Name;

typedef struct Family
{
	const char *model_type;
	const char *const *prefixes; /* ended by NULL; the empty one is tried last */
	const Name *names; /* ended by a NULL name */
	const Name *head; /* of sequence classification; NULL: none is known */
	DsCode (*read)(Source *source, DsEncoderSpec *spec);
	/* the modules of the head, which gives so many scores */
	DsCode (*read_head)(Source *source, DsEncoderSpec *spec, uint32_t labels);
} Family;

/* A module behind the encoder with tensors of its own: their files, and their name without suffix */
typedef struct SourceExtra
{
	DsTensorFiles *files;
	const char *stem;
} SourceExtra;

typedef struct SourceReader
{
	Source source;
	const char *folder; /* "" or "0_Transformer/": where the encoder's own files are */
	DsJson modules; /* modules.json */
	SourceExtra extra[DS_SPEC_MODULES];
} SourceReader;

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
                               \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* NULL when the type is not known */
extern const Family *ds_family_find(DsJson model_type);
extern const Family *ds_family_open_clip(void);
extern const Family *ds_family_static(void);
extern const Family *ds_family_tf_bert(void);
/* by the name that a description has; NULL for one that has no writer */
extern const Family *ds_family_named(const char *name);
/* the types that are known, for messages */
extern const char *ds_family_names(void);

/* The tensor of a neutral name, or NULL */
extern const DsTensorInfo *ds_source_tensor(const Source *source, const char *neutral);

/* Numbers of the config, under the first of two keys that is there (second may be NULL) */
extern DsCode ds_source_number(Source *source, const char *key, const char *second,
							   int64_t otherwise, uint32_t *out);
extern DsCode ds_source_real(Source *source, const char *key, const char *second, double otherwise,
							 float *out);
#define DS_REQUIRED (-1) /* "otherwise": the key must be there */

/* source_files.c: small files, weights, and the names in them */
extern DsCode ds_source_no_memory(Source *source);
extern DsCode ds_source_join(Source *source, const char *folder, const char *name,
							 const char **path);
/* a JSON file into the arena; absent when there is none */
extern DsCode ds_source_json(Source *source, const char *path, DsJson *root);
/* NULL when the value is no string */
extern DsCode ds_source_string(Source *source, DsJson value, const char **out);
/* the weights in a folder ("" or "1_Dense/"), whole or in parts */
extern DsCode ds_source_open_weights(Source *source, const char *folder, DsTensorFiles **files);
/* does the pattern match the neutral name?  *layer gets '#', *suffix what comes behind */
extern bool ds_source_match(const char *pattern, const char *neutral, unsigned *layer,
							const char **suffix);
/*
 * The name that a family's file has for a neutral one, of its body or of its
 * head: false when there is none.  Where there are several, the first, or the last.
 */
extern bool ds_source_name(const Family *family, bool head, bool last, const char *prefix,
						   const char *neutral, char *out, size_t size);
/* ds_source_tensor(); expected gets the name that was looked for first, unless it has one */
extern const DsTensorInfo *ds_source_find(const Source *source, const char *neutral, char *expected,
										  size_t size);

/* source_modules.c: modules.json, and what comes behind the encoder */
extern DsCode ds_source_module_folder(SourceReader *reader, DsJson module, const char **folder);
extern void ds_source_module_type(DsJson module, char *out, size_t size);
extern DsCode ds_source_modules(SourceReader *reader);
extern DsCode ds_source_pooling(Source *source, const char *folder);
extern DsCode ds_source_normalize(Source *source);
extern DsCode ds_source_head(Source *source);

#endif /* DS_FAMILIES_H */
