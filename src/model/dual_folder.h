/*
 * dual_folder.h
 *		The folder of a dual encoder that was trained here.
 *
 *   config.json          {"model_type": "deepsearch", "version": 1, "config": as ds_create_model()}
 *   model.safetensors    the tensors, called as in ds_tensor: "query.embedding" and so on, "log_scale"
 *   TOWER.ngrams.json, TOWER.ngrams.bin   of each tower that reads texts ("shared", "query",
 *                        "document"): what its tokenizer does, for others, and its blob
 */
#ifndef DS_MODEL_DUAL_FOLDER_H
#define DS_MODEL_DUAL_FOLDER_H

#include "server.h"

#include "format/folder.h"
#include "model/upload.h"

#define DS_DUAL_FAMILY "deepsearch"
#define DS_DUAL_VERSION 1
#define DS_NGRAM_RULES "ngrams.json"
#define DS_NGRAM_TABLE "ngrams.bin"

/* import_dual.c: is it one?  Reads config.json. */
extern bool ds_dual_folder_is(DsFiles *files);

/*
 * Read it into a new model of this name, whose lock the caller has.  SPI must be connected.
 * Errors: XX001 for what does not fit together, 0A000 for a later version.
 */
extern void ds_dual_folder_import(const char *name, DsFiles *files, uint32 keep_versions);

#endif /* DS_MODEL_DUAL_FOLDER_H */
