/*
 * status.h
 *		How a pure room reports failure.
 *
 * A pure room may not ereport: a longjmp would pass through frames of BLAS or
 * of another library.  A function that can fail returns a DsCode and, when
 * that is not DS_OK, has written one sentence for the user into *status.  The
 * server rooms turn it into ereport with the SQLSTATE that belongs to the
 * code (see ds_check() in server.h).
 */
#ifndef DS_STATUS_H
#define DS_STATUS_H

#include <stdbool.h>

typedef enum DsCode
{
	DS_OK = 0,
	DS_INVALID, /* an argument or a setting makes no sense: 22023 */
	DS_OUT_OF_RANGE, /* a number cannot be represented: 22003 */
	DS_BAD_DATA, /* input data (a file, a stored object) is damaged: XX001 */
	DS_UNSUPPORTED, /* well-formed, but not a thing we do: 0A000 */
	DS_TOO_LARGE, /* a limit of the program is exceeded: 54000 */
	DS_OUT_OF_MEMORY, /* 53200 */
	DS_CANCELLED /* the cancel callback said so; the server room raises it */
} DsCode;

#define DS_MESSAGE_SIZE 512

typedef struct DsStatus
{
	DsCode code;
	char message[DS_MESSAGE_SIZE];
} DsStatus;

/*
 * Write a message into *status (which may be NULL) and return code, so that a
 * caller can say "return ds_fail(...)".  A message is cut at a UTF-8 boundary
 * when it is too long.
 */
extern DsCode ds_fail(DsStatus *status, DsCode code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Long loops of pure rooms ask from time to time (at least every 20 ms of
 * work) whether they should stop.  poll may be NULL: never.
 */
typedef struct DsCancel
{
	bool (*poll)(void *context);
	void *context;
} DsCancel;

static inline bool
ds_cancelled(const DsCancel *cancel)
{
	return cancel != 0 && cancel->poll != 0 && cancel->poll(cancel->context);
}

#endif /* DS_STATUS_H */
