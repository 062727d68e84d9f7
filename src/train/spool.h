/*
 * spool.h
 *		The source query of a training: its rows, read once, into a temporary file.
 *
 * Columns by place: the query, the document or documents that answer it, and
 * (if there is a third) the wrong ones.  Columns by name: label and weight,
 * numbers.  Documents, wrong ones and labels may be arrays.  What is a text and a
 * picture is two columns, in either order, and no array.
 */
#ifndef DS_TRAIN_SPOOL_H
#define DS_TRAIN_SPOOL_H

#include "server.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "storage/buffile.h"

#include "train/pictures.h"

/* documents of a row, right and wrong */
#define DS_SPOOL_DOCUMENTS_MAX 1024

typedef enum DsSpoolKind
{
	DS_SPOOL_TEXT,
	DS_SPOOL_FEATURES, /* vectors: embedding, real[], or texts of these */
	DS_SPOOL_IMAGE, /* pictures: bytea */
	DS_SPOOL_BOTH /* a text and a picture, either of which may be NULL */
} DsSpoolKind;

/* A row: text[0] is the query, the others are its documents.  Features are texts of float bytes. */
typedef struct DsSpoolRow
{
	int64 number; /* counts from 1, skipped rows too */
	float weight;
	uint32 documents;
	uint32 labels; /* 0, or one a document */
	DsText *text;
	uint32 *picture; /* [1 + documents] numbers in its side's pictures; DS_NO_PICTURE */
	float *label;
} DsSpoolRow;

/* What $1, $2, ... are in the source query; none is NULL */
typedef struct DsSpoolParameters
{
	int count;
	Oid *types;
	Datum *values;
} DsSpoolParameters;

typedef struct DsSpool
{
	MemoryContext context;
	DsSpoolKind kind[2]; /* of queries and of documents */
	DsPictures *pictures[2]; /* where such are read; may be the same; not the spool's own */
	const DsSpoolParameters *parameters; /* or NULL */
	const char *hint; /* what the rows should be, for errors; NULL: the usual */
	bool bad_is_none; /* a picture that cannot be read counts as none; otherwise an error */
	int64 bad; /* such pictures */
	int64 rows;
	int64 skipped; /* rows without a query, a document or a label */
	int64 kept;
	uint32 dims[2]; /* features: width of queries' and of documents' */
	bool labels; /* there is such a column */
	bool weights;
	BufFile *file;
	/* the row that ds_spool_next() gave last */
	DsSpoolRow row;
	size_t room; /* of row.text, row.picture and row.label */
	StringInfoData bytes;
} DsSpool;

/* An empty source in a new context below the current one, whose end closes the file */
extern DsSpool *ds_spool_create(DsSpoolKind query, DsSpoolKind document);

/*
 * Run the query as the current user, read-only, and keep its rows; each is
 * shown to see (which may be NULL) as it comes.  Errors: those of the query;
 * 42601 where it is no plain SELECT; 42804 where its columns have another type;
 * 22023 for rows that make no sense, with their number.
 */
extern void ds_spool_read(DsSpool *source, const char *sql,
						  void (*see)(void *context, const DsSpoolRow *row), void *context);

/* The rows once more: from the first, one after the other; NULL behind the last. */
extern void ds_spool_rewind(DsSpool *source);
extern const DsSpoolRow *ds_spool_next(DsSpool *source);

/* The rows are not needed any more. */
extern void ds_spool_close(DsSpool *source);

/*
 * Plan sql, which must be one SELECT that neither writes nor locks: 42601
 * "WHAT must be one SELECT" where it is not.  parameters may be NULL.
 */
extern SPIPlanPtr ds_spool_prepare(const char *sql, const DsSpoolParameters *parameters,
								   const char *what, const char *hint, TupleDesc *desc);

#endif /* DS_TRAIN_SPOOL_H */
