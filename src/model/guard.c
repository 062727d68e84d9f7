/*
 * guard.c
 *		Callbacks from pure code that may raise an error.
 */
#include "model/guard.h"

DsCode
ds_guard_call(DsGuard *guard, void (*work)(void *argument), void *argument, DsStatus *status)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile DsCode code = DS_OK;

	PG_TRY();
	{
		work(argument);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(guard->context);
		guard->error = CopyErrorData();
		FlushErrorState();
		code = ds_fail(status, DS_BAD_DATA, "%s", guard->error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return code;
}

void
ds_guard_check(DsGuard *guard, DsCode code, const DsStatus *status)
{
	if (code != DS_OK && guard->error != NULL)
		ReThrowError(guard->error);
	ds_check(code, status);
}
