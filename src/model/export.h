/*
 * export.h
 *		Where the files of a model go: a folder of the server, rows of a result.
 */
#ifndef DS_MODEL_EXPORT_H
#define DS_MODEL_EXPORT_H

#include "server.h"

#include "format/plan.h"

/* Called with one file after the other, and with its bytes */
typedef struct DsExportSink
{
	void (*begin)(struct DsExportSink *sink, const char *name);
	void (*put)(struct DsExportSink *sink, const void *bytes, size_t size);
	void (*end)(struct DsExportSink *sink);
} DsExportSink;

/*
 * A new folder: its files are written beside it, and it has its name when all of them
 * are there and synced.  work writes them; after an error nothing is left.
 * 42501 without pg_write_server_files; 58P02 when there is something of this name;
 * 58P01 and the like for what the operating system refuses.
 */
extern void ds_export_folder(const char *path, void (*work)(DsExportSink *sink, void *context),
							 void *context);

/* Rows (file, offset, data), of at most 1 MB each */
extern DsExportSink *ds_export_rows(Tuplestorestate *store, TupleDesc desc);

#endif /* DS_MODEL_EXPORT_H */
