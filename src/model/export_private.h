/*
 * export_private.h
 *		An export on its way; for the files of export.c only.
 */
#ifndef DS_MODEL_EXPORT_PRIVATE_H
#define DS_MODEL_EXPORT_PRIVATE_H

#include "model/export.h"

#include "format/graph_model.h"
#include "model/model.h"
#include "model/stored_source.h"

typedef enum DsExportFormat
{
	DS_EXPORT_HUGGINGFACE,
	DS_EXPORT_ONNX,
	DS_EXPORT_SAVED_MODEL,
	DS_EXPORT_TENSORFLOW,
	DS_EXPORT_TFLITE
} DsExportFormat;

typedef enum DsExportPrecision
{
	DS_EXPORT_F32,
	DS_EXPORT_INT8,
	DS_EXPORT_FP16
} DsExportPrecision;

typedef struct DsExportOptions
{
	int side; /* of a model whose sides differ; 0: not given, then DsSide + 1 */
	int tower; /* of a model of texts and pictures; 0: not given, 1: texts, 2: pictures */
	int precision; /* DsExportPrecision; of onnx and tflite: of the weights */
	uint32 tokens; /* of tflite: the fixed length of its inputs; 0: not given */
} DsExportOptions;

typedef struct DsExport
{
	char *name;
	DsExportFormat format;
	DsExportOptions options;
	DsModel *model;
	DsReader reader;
	bool reading; /* the reader is open */
	DsStoredSource stored;
	DsTensorSource source; /* what the plan's tensors are read from */
	DsTensorSource tables; /* the same of ds_tensor, where that is another one */
	DsArena arena; /* of the plan */
	DsArena scratch;
	DsPlan plan;
	/* a file on its way */
	DsGuard guard;
	DsExportSink *sink;
	const void *bytes;
	size_t size;
} DsExport;

/* 0A000: "PART has no counterpart in this format." */
extern void ds_export_no_counterpart(const DsExport *export, const char *part)
	__attribute__((noreturn));

/* Read ds_tensor; names there are those asked for behind prefix. */
extern void ds_export_begin_source(DsExport *export, const char *prefix);

/* DsPlanStored of ds_tensor: its context is the export */
extern bool ds_export_describe(void *context, const char *name, DsDtype *dtype, uint32_t *rank,
							   uint64_t shape[4]);

/* What a writer has said: an error of reading or writing, or its own; 0A000 for DS_UNSUPPORTED */
extern void ds_export_check(DsExport *export, DsCode code, const DsStatus *status);

/* Whether it is one of the formats that graph_model.h plans, and what is planned */
extern bool ds_export_graph(const DsExport *export);
extern DsGraphTarget ds_export_target(DsExport *export, const DsPlanStored *stored);

/* export_imported.c, export_dual.c: plan the files of such a model */
extern void ds_export_imported(DsExport *export);
extern void ds_export_dual(DsExport *export);

#endif /* DS_MODEL_EXPORT_PRIVATE_H */
