/*
 * server.h
 *		What every server room needs from the pure ones.
 */
#ifndef DS_SERVER_H
#define DS_SERVER_H

#include "compat.h"

#include "base/arena.h"
#include "base/status.h"

#include "funcapi.h"
#include "utils/palloc.h"
#include "utils/tuplestore.h"

/* Settings (deepsearch.c) */
extern char *ds_setting_model; /* deepsearch.model: "" means the only model there is */
extern double ds_setting_target_recall; /* deepsearch.target_recall, 0 < x <= 1 */
extern int ds_setting_probes; /* deepsearch.probes: 0 means chosen from the target */
extern int ds_setting_encode_cache; /* deepsearch.encode_cache: texts remembered a process */
extern int
	ds_setting_image_max_pixels; /* deepsearch.image_max_pixels: of a picture that is decoded */
extern int ds_setting_image_max_bytes; /* deepsearch.image_max_bytes: of its file, in kB */
extern int ds_setting_training_memory; /* deepsearch.training_memory, in MB; 0: what there is */

/*
 * An arena in a memory context: an error that unwinds past the caller frees
 * the memory with the context, and a lack of memory is a NULL, not an error.
 */
extern void ds_server_arena(DsArena *arena, MemoryContext context);

/*
 * Begin the result of a set-returning function that puts all its rows with
 * tuplestore_putvalues() and then returns (Datum) 0.
 */
extern Tuplestorestate *ds_materialize(FunctionCallInfo fcinfo, TupleDesc *desc);

/* The cancel callback for pure rooms: true when this backend must stop. */
extern const DsCancel ds_server_cancel;

/*
 * Raise what a pure room reported: nothing for DS_OK; for DS_CANCELLED the
 * pending interrupt; else an error with the code's SQLSTATE.
 */
extern void ds_check(DsCode code, const DsStatus *status);

/*
 * From here to ds_read_only_end() the transaction may not write: neither a
 * statement that the user gave us to read from, nor a function that it calls.
 * An error in between needs no care, because ending the (sub)transaction sets
 * the mode back.
 */
extern bool ds_read_only_begin(void); /* what ds_read_only_end() must be given */
extern void ds_read_only_end(bool before);

/* The SQLSTATE that belongs to a code. */
extern int ds_sqlstate(DsCode code);

/* A text as the pure rooms want it: in UTF-8.  May be the same memory. */
typedef struct DsText
{
	const char *data;
	size_t length;
} DsText;

extern DsText ds_text_utf8(const char *data, size_t length);

/* and back, ended by a zero byte; 22P05 for a character that this database's encoding lacks */
extern char *ds_text_server(const char *utf8, size_t length);

/* Each room's part of _PG_init */
extern void ds_init_index(void);
extern void ds_init_model(void);

#endif /* DS_SERVER_H */
