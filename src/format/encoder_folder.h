/*
 * encoder_folder.h
 *		A model as the folder that Hugging Face and sentence-transformers have it
 *		in, or Google BERT's checkpoints: what encoder_source.h reads, written.
 *
 * What is planned is read back, by the readers of this room, before it is
 * given: a model whose description would come back as another one has no
 * counterpart in this format, and is refused with the part that would differ.
 */
#ifndef DS_ENCODER_FOLDER_H
#define DS_ENCODER_FOLDER_H

#include "format/plan.h"
#include "nn/encoder_spec.h"
#include "text/subword.h"

typedef struct DsEncoderFolder
{
	const DsEncoderSpec *spec;
	/* the tokenizer's file: a tokenizer.json, or a vocab.txt with options */
	const char *tokenizer;
	size_t tokenizer_size;
	bool vocab;
	const DsVocabOptions *vocab_options;
	bool special;
	uint32_t drop_id; /* a token that is left out, or DS_SPEC_NO_ID */
	const char *prompt[2]; /* UTF-8, by side; "" for none */
	const DsPlanStored *stored;
	/*
	 * NULL: weights are in model.safetensors.  Otherwise in a checkpoint of
	 * TensorFlow with the names of Google's BERT, whose index has checksums, for
	 * which these numbers are read.
	 */
	const DsTensorSource *checkpoint;
	const DsCancel *cancel; /* of reading them */
} DsEncoderFolder;

/*
 * Plan the folder of an encoder of texts.  The plan's arena gets the small files;
 * bytes of the tokenizer are not copied.  Errors: DS_UNSUPPORTED with what has no
 * counterpart, DS_BAD_DATA for a tensor that is missing, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_encoder_folder(const DsEncoderFolder *folder, DsPlan *plan, DsStatus *status);

/* A tokenizer.json that does what a vocab.txt with these options does */
extern DsCode ds_vocab_tokenizer(const char *vocab, size_t size, const DsVocabOptions *options,
								 DsPlan *plan, const char *name, DsStatus *status);

#endif /* DS_ENCODER_FOLDER_H */
