/*
 * encoder_source.h
 *		A trained encoder as it lies in a folder: Hugging Face, sentence-transformers,
 *		OpenCLIP, model2vec.
 *
 * The files' many ways to say the same become one description: the encoder
 * (nn/encoder_spec.h), where each of its tensors is, the tokenizer's file, what
 * is put before texts.  Everything is checked against each other: a tensor
 * that is missing or has another shape than the config says is refused by
 * name, and so is what the forward pass cannot do.
 */
#ifndef DS_ENCODER_SOURCE_H
#define DS_ENCODER_SOURCE_H

#include "format/tensors.h"
#include "nn/encoder_spec.h"
#include "text/subword.h"

typedef struct DsSourceTensor
{
	char name[DS_SPEC_NAME]; /* the neutral one */
	const DsTensorInfo *info;
	const DsTensorFiles *files;
} DsSourceTensor;

typedef struct DsEncoderSource
{
	DsEncoderSpec spec;
	size_t tensor_count;
	DsSourceTensor *tensors;

	/* tokenizer.json, or vocab.txt with options; where it is in the folder */
	const char *tokenizer_file;
	bool vocab;
	DsVocabOptions vocab_options;
	bool special; /* texts get the special tokens */
	uint32_t unk_id; /* a token that is left out of texts, or DS_SPEC_NO_ID */
	bool lowercase; /* before the tokenizer; see ds_source_tokenizer_text() */

	/* what is put before queries and before documents; NULL for nothing */
	const char *prompt[2];
} DsEncoderSource;

/*
 * Describe the encoder in a folder.  What is returned lives in arena (the list
 * of tensors, some hundred bytes each, and the small files); scratch is left as
 * it was.  Errors: DS_BAD_DATA, DS_UNSUPPORTED, DS_TOO_LARGE, DS_OUT_OF_MEMORY,
 * DS_INVALID (contradicting values), and what the folder's callbacks give.
 */
extern DsCode ds_encoder_source_open(const DsFolder *folder, DsArena *arena, DsArena *scratch,
									 DsEncoderSource *source, DsStatus *status);

/*
 * The tokenizer.json to compile: the text of the file, or, with lowercase, a
 * copy in arena (ended by a zero byte) in which texts become lower-case first.
 * vocab_options say it already.  Errors: DS_BAD_DATA, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_source_tokenizer_text(const DsEncoderSource *source, const char *json,
									   size_t length, DsArena *arena, const char **out,
									   size_t *out_length, DsStatus *status);

#endif /* DS_ENCODER_SOURCE_H */
