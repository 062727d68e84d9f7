/*
 * imported.h
 *		Models that were trained elsewhere: what their config says, and encoding
 *		with them.
 */
#ifndef DS_MODEL_IMPORTED_H
#define DS_MODEL_IMPORTED_H

#include "server.h"

#include "image/transform.h"
#include "nn/dual_encoder.h"
#include "nn/encoder.h"
#include "nn/image_network.h"
#include "text/subword.h"

#include "utils/jsonb.h"

/* The tensor that is the tokenizer's file */
#define DS_TOKENIZER_TENSOR "tokenizer"

/* What the names of the tensors of a network over pictures begin with */
#define DS_IMAGE_PREFIX "image."

typedef struct DsImportedConfig
{
	/* One of the two, or both with as many components (CLIP) */
	bool texts;
	bool images;

	/* pictures */
	DsImageSpec image;
	DsImageTransform transform;

	/* texts */
	DsEncoderSpec spec;
	DsPrecision precision;
	bool
		vocab; /* the tokenizer's file is vocab.txt, with these options; otherwise tokenizer.json */
	DsVocabOptions vocab_options;
	bool special; /* texts get the special tokens of the tokenizer's file */
	uint32 drop_id; /* a token that is left out (DS_SPEC_NO_ID: none) */
	char *prompt[2]; /* by DsSide: what is put before a text; "" for nothing */
	/*
	 * Queries and documents have an encoder each, of the same spec: training one of
	 * them alone makes two of one.  Tensors' names begin with "query." or
	 * "document." then.
	 */
	bool separate;
} DsImportedConfig;

/* Is this a config of an imported model? */
extern bool ds_config_is_imported(Jsonb *config);

/* Strings in the current context; XX001 for what ds_imported_config_write() would not write */
extern void ds_imported_config_read(Jsonb *json, DsImportedConfig *config);
extern Jsonb *ds_imported_config_write(const DsImportedConfig *config);

/* Components of an embedding, or number of scores; "bert" and so on; all parameters */
extern int ds_imported_dims(const DsImportedConfig *config);
extern const char *ds_imported_family(const DsImportedConfig *config);
extern int64 ds_imported_parameters(const DsImportedConfig *config);

/* The number of encoders of texts, and what the names of one's tensors begin with */
extern int ds_imported_towers(const DsImportedConfig *config);
extern const char *ds_imported_prefix(const DsImportedConfig *config, int tower);

/* Compile the tokenizer's file; the result in arena, the way there in memory that goes. */
extern void ds_imported_tokenizer(const DsImportedConfig *config, const char *file, size_t length,
								  const char *name, DsArena *arena, void **blob, size_t *size);

#endif /* DS_MODEL_IMPORTED_H */
