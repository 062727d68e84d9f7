/*
 * polls.c
 *		A server module for tests: how long a process goes on without asking
 *		whether it should stop.
 *
 * Loaded by session_preload_libraries, in parallel workers too.  A timer of
 * processor time, so that it does not matter what else the machine does, sets
 * InterruptPending at every tick of the kernel.  CHECK_FOR_INTERRUPTS() clears
 * it; a poll of the pure rooms counts in ds_server_polls.  As long as neither
 * happens, the time since it was set is what a cancellation would have waited.
 *
 *	polls_idle(ms)	works so long without asking
 *	polls_worst()	text: milliseconds of the worst such stretch since the last
 *					call, and where it was noticed (addr2line -fe FILE ADDRESS)
 *
 * A worker says the same in the server's log when it ends.
 */
#include "postgres.h"

#include <execinfo.h>
#include <signal.h>
#include <time.h>

#include "access/parallel.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

#define DEPTH 24

static volatile uint32 *polls; /* those of pure rooms */
static volatile uint32 polls_before;
static double armed; /* when InterruptPending was set, ms */
static volatile double worst;
static void *frames[DEPTH];
static int depth;

static double
processor_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
}

static void
tick(int signo)
{
	int saved = errno;
	double now = processor_ms();

	(void) signo;
	if (!InterruptPending || *polls != polls_before)
		armed = now;
	else if (now - armed > worst)
	{
		worst = now - armed;
		depth = backtrace(frames, DEPTH);
	}
	polls_before = *polls;
	InterruptPending = true;
	errno = saved;
}

static char *
report(void)
{
	StringInfoData text;
	char **symbols = backtrace_symbols(frames, depth);

	initStringInfo(&text);
	appendStringInfo(&text, "%.0f", worst);
	for (int i = 2; i < depth && symbols != NULL; i++)
		appendStringInfo(&text, " %s",
						 strrchr(symbols[i], '/') != NULL ? strrchr(symbols[i], '/') + 1
														  : symbols[i]);
	free(symbols);
	return text.data;
}

static void
say_at_exit(int code, Datum argument)
{
	(void) code;
	(void) argument;
	ereport(LOG,
			(errmsg("polls of a worker: %s", report()), errhidestmt(true), errhidecontext(true)));
}

PG_FUNCTION_INFO_V1(polls_worst);
Datum
polls_worst(PG_FUNCTION_ARGS)
{
	text *result = cstring_to_text(report());

	worst = 0;
	depth = 0;
	PG_RETURN_TEXT_P(result);
}

/* So many milliseconds without asking: does the watcher see it? */
PG_FUNCTION_INFO_V1(polls_idle);
Datum
polls_idle(PG_FUNCTION_ARGS)
{
	double until = processor_ms() + PG_GETARG_INT32(0);

	while (processor_ms() < until)
		;
	PG_RETURN_VOID();
}

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
	struct itimerspec interval = {{0, 1000000}, {0, 1000000}};
	timer_t timer;

	polls = load_external_function("$libdir/deepsearch", "ds_server_polls", true, NULL);
	depth = backtrace(frames, DEPTH); /* loads what it needs, outside of a handler */
	depth = 0;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGPROF, &action, NULL) != 0 ||
		timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) != 0 ||
		timer_settime(timer, 0, &interval, NULL) != 0)
		elog(ERROR, "no timer: %m");
	if (IsParallelWorker())
		before_shmem_exit(say_at_exit, 0);
}
