/*
 * guard.h
 *		Callbacks from pure code that may raise an error.
 *
 * No error may jump through a pure room.  What a callback does is called
 * through a guard, which keeps the error; the callback fails, the pure code
 * returns, and ds_guard_check() raises what was kept.  Nothing is done with the
 * database in between.
 */
#ifndef DS_MODEL_GUARD_H
#define DS_MODEL_GUARD_H

#include "server.h"

#include "utils/elog.h"

typedef struct DsGuard
{
	MemoryContext context; /* where the error is kept */
	ErrorData *error;
} DsGuard;

/* DS_BAD_DATA with the error's message when work has raised one */
extern DsCode ds_guard_call(DsGuard *guard, void (*work)(void *argument), void *argument,
							DsStatus *status);

/* As ds_check(), or the error that was kept */
extern void ds_guard_check(DsGuard *guard, DsCode code, const DsStatus *status);

#endif /* DS_MODEL_GUARD_H */
