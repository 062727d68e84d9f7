/*
 * deepsearch.c
 *		Loading the library: settings, and the bridge from the pure rooms.
 */
#include "server.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/pmsignal.h"
#include "utils/guc.h"
#include "utils/memutils.h"

DS_MODULE_MAGIC;

char *ds_setting_model = NULL;
double ds_setting_target_recall = 0.95;
int ds_setting_probes = 0;
int ds_setting_encode_cache = 1024;
int ds_setting_image_max_pixels = 50000000;
int ds_setting_image_max_bytes = 32 * 1024;
int ds_setting_training_memory = 0;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	DefineCustomStringVariable("deepsearch.model", "Model that ds_encode uses when none is named.",
							   "Empty: the only model there is.", &ds_setting_model, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("deepsearch.target_recall",
							 "Share of the true nearest rows that an index scan aims to find.",
							 "1 makes the scan exact.", &ds_setting_target_recall, 0.95, 0.01, 1.0,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("deepsearch.probes", "Number of lists that an index scan opens first.",
							"0: chosen from deepsearch.target_recall.", &ds_setting_probes, 0, 0,
							1000000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"deepsearch.encode_cache", "Number of encoded texts that a process remembers.", NULL,
		&ds_setting_encode_cache, 1024, 0, 1000000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"deepsearch.image_max_pixels", "Number of pixels of the largest picture that is decoded.",
		"A file may be small and its picture large.", &ds_setting_image_max_pixels, 50000000, 1,
		INT_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("deepsearch.image_max_bytes",
							"Size of the largest picture's file that is decoded.", NULL,
							&ds_setting_image_max_bytes, 32 * 1024, 1, 1024 * 1024, PGC_USERSET,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"deepsearch.training_memory",
		"Memory that a training may take for what its batches leave on their way.",
		"0: what the system has when it begins.", &ds_setting_training_memory, 0, 0, INT_MAX,
		PGC_SUSET, GUC_UNIT_MB, NULL, NULL, NULL);
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved("deepsearch");
#else
	EmitWarningsOnPlaceholders("deepsearch");
#endif
	ds_init_index();
	ds_init_model();
}

static void *
allocate_in_context(void *context, size_t size)
{
	return MemoryContextAllocExtended((MemoryContext) context, size,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void
release_in_context(void *context, void *pointer)
{
	(void) context;
	pfree(pointer);
}

void
ds_server_arena(DsArena *arena, MemoryContext context)
{
	DsAllocator allocator = {allocate_in_context, release_in_context, context};

	ds_arena_init(arena, &allocator);
}

/* How often pure rooms could have been stopped: a test watches that this goes on. */
extern PGDLLEXPORT volatile uint32 ds_server_polls;
volatile uint32 ds_server_polls;

/*
 * Without its postmaster a process must end, as it would where it waits for
 * something: long work waits for nothing, and a server cannot be started again
 * beside it.
 */
static bool
is_orphan(void)
{
	return IsUnderPostmaster && !PostmasterIsAlive();
}

static bool
poll_interrupts(void *context)
{
	(void) context;
	if (InterruptHoldoffCount == 0)
		ds_server_polls++;
	/*
	 * InterruptPending alone can also mean a barrier or a request for
	 * statistics, for which the work must not be thrown away.
	 */
	return InterruptHoldoffCount == 0 &&
		   ((InterruptPending && (QueryCancelPending || ProcDiePending)) || is_orphan());
}

const DsCancel ds_server_cancel = {poll_interrupts, NULL};

/*
 * The variable itself, because since 17 the setting transaction_read_only
 * cannot be changed for the time of a function.
 */
bool
ds_read_only_begin(void)
{
	bool before = XactReadOnly;

	XactReadOnly = true;
	return before;
}

void
ds_read_only_end(bool before)
{
	XactReadOnly = before;
}

int
ds_sqlstate(DsCode code)
{
	switch (code)
	{
		case DS_OK:
			return ERRCODE_SUCCESSFUL_COMPLETION;
		case DS_INVALID:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case DS_OUT_OF_RANGE:
			return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		case DS_BAD_DATA:
			return ERRCODE_DATA_CORRUPTED;
		case DS_UNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case DS_TOO_LARGE:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case DS_OUT_OF_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case DS_CANCELLED:
			return ERRCODE_QUERY_CANCELED;
	}
	return ERRCODE_INTERNAL_ERROR;
}

void
ds_check(DsCode code, const DsStatus *status)
{
	if (code == DS_OK)
		return;
	if (code == DS_CANCELLED)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_orphan())
			ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN),
							errmsg("terminating connection due to unexpected postmaster exit")));
		/* held off, or an interrupt that does not end the query */
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("canceling statement due to user request")));
	}
	ereport(ERROR, (errcode(ds_sqlstate(code)), errmsg("%s", status->message)));
}

Tuplestorestate *
ds_materialize(FunctionCallInfo fcinfo, TupleDesc *desc)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller;
	Tuplestorestate *store;

	if (result == NULL || !IsA(result, ReturnSetInfo) ||
		(result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	*desc = BlessTupleDesc(*desc);
	store = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0, false,
								  work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = store;
	result->setDesc = *desc;
	MemoryContextSwitchTo(caller);
	return store;
}
