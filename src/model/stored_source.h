/*
 * stored_source.h
 *		The tensors of a version as floats, for the pure rooms.
 */
#ifndef DS_MODEL_STORED_SOURCE_H
#define DS_MODEL_STORED_SOURCE_H

#include "model/guard.h"
#include "model/store.h"
#include "nn/encoder.h"

/*
 * A tensor of i8 has beside it one of this name with a scale for each row that its
 * numbers are to be multiplied by, unless it came without scales.
 */
#define DS_SCALE_SUFFIX "#scale"

/* Their names there are those that are asked for, behind a prefix */
typedef struct DsStoredSource
{
	DsGuard guard;
	DsReader *reader;
	const char *prefix;

	/* private: a callback's arguments and result */
	const char *name;
	DsStored stored;
	float *scales; /* of the rows of a quantised tensor; NULL: of none */
	bool found;
	uint64 first;
	size_t count;
	float *out;
} DsStoredSource;

/* What the rows of a quantised tensor are multiplied with, in the current context; NULL: it is none */
extern float *ds_stored_scales(DsReader *reader, const DsStored *stored);

/*
 * What the pure code reads from, for one call of it; errors of the tables are
 * kept, so what it returns goes to ds_guard_check(&stored->guard, ...).
 */
extern DsTensorSource ds_stored_source(DsStoredSource *stored, DsReader *reader,
									   const char *prefix);

#endif /* DS_MODEL_STORED_SOURCE_H */
