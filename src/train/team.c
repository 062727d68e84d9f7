/*
 * team.c
 *		The processes that train together.
 */
#include "train/team.h"

#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "access/xact.h"
#include "base/pages.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/condition_variable.h"
#include "storage/dsm.h"
#include "storage/dsm_impl.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "train/memory.h"

/* how long to look for the others before going to sleep: some ten microseconds */
#define SPINS 4000

/* The head of the shared memory; behind it the batch, then the trainer's block, each at a place of its own */
typedef struct Shared
{
	Oid database;
	Oid user;
	Size size; /* of all */
	Size batch;
	Size block;
	Size block_size;

	/* the barrier */
	pg_atomic_uint32 arrived;
	pg_atomic_uint32 generation;
	ConditionVariable moved;
	pg_atomic_uint32 participants; /* 0 until all are there */

	pg_atomic_uint32 ready; /* workers that have attached */
	pg_atomic_uint32 failed; /* 1: someone has; its code and message below.  2: being written */
	pg_atomic_uint32 stop; /* the workers shall go */

	pg_atomic_uint64 taken; /* bytes in the arenas of all */
	Size memory; /* that these may take */
	int code; /* DsCode */
	char message[sizeof(((DsStatus *) 0)->message)];
} Shared;

struct DsTeam
{
	Shared *shared;
	DsTrainer *trainer;
	DsBatch *batch;
	DsArena arena;
	int index; /* 0: the leader */
	int count;
	bool features;
	uint32 accumulate;
	DsCancel cancel;

	/* the leader's */
	MemoryContext context;
	dsm_segment *segment;
	BackgroundWorkerHandle **handles;
	int workers;
	bool ended;
};

/* ---- waiting for each other ---- */

static bool
has_failed(DsTeam *team)
{
	return pg_atomic_read_u32(&team->shared->failed) != 0 ||
		   pg_atomic_read_u32(&team->shared->stop) != 0;
}

static void
wake_all(Shared *shared)
{
	ConditionVariableBroadcast(&shared->moved);
}

/* The first to fail tells why. */
static void
fail(Shared *shared, DsCode code, const char *message)
{
	uint32 none = 0;

	if (pg_atomic_compare_exchange_u32(&shared->failed, &none, 2))
	{
		shared->code = (int) code;
		strlcpy(shared->message, message, sizeof(shared->message));
		pg_write_barrier();
		pg_atomic_write_u32(&shared->failed, 1);
	}
	wake_all(shared);
}

/* Wait for all; false when someone has failed. */
static bool
wait_for_all(DsTeam *team)
{
	Shared *shared = team->shared;
	uint32 generation;

	if (team->count == 1)
		return !has_failed(team);
	generation = pg_atomic_read_u32(&shared->generation);
	if (pg_atomic_add_fetch_u32(&shared->arrived, 1) == (uint32) team->count)
	{
		pg_atomic_write_u32(&shared->arrived, 0);
		pg_memory_barrier();
		pg_atomic_fetch_add_u32(&shared->generation, 1);
		wake_all(shared);
		return !has_failed(team);
	}
	for (int i = 0; i < SPINS; i++)
	{
		if (pg_atomic_read_u32(&shared->generation) != generation)
			goto done;
		if ((i & 63) == 0 && has_failed(team))
			return false;
		SPIN_DELAY();
	}
	ConditionVariablePrepareToSleep(&shared->moved);
	while (pg_atomic_read_u32(&shared->generation) == generation && !has_failed(team))
		ConditionVariableSleep(&shared->moved, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
done:
	pg_read_barrier();
	return !has_failed(team);
}

static bool
poll(void *context)
{
	DsTeam *team = context;

	return has_failed(team) || ds_server_cancel.poll(ds_server_cancel.context);
}

/* ---- memory ---- */

/* NULL beyond what the training may take, too */
static void *
allocate(void *context, size_t size)
{
	DsTeam *team = context;
	Shared *shared = team->shared;
	void *pointer = NULL;
	size_t taken;

	if (size > shared->memory || pg_atomic_read_u64(&shared->taken) > shared->memory - size)
		return NULL;
	pointer = MemoryContextAllocExtended(team->context, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (pointer == NULL)
		return NULL;
	taken = GetMemoryChunkSpace(pointer);
	pg_atomic_fetch_add_u64(&shared->taken, (int64) taken);
	return pointer;
}

static void
release(void *context, void *pointer)
{
	DsTeam *team = context;

	/* at the end the shared memory goes first */
	if (team->shared != NULL)
		pg_atomic_fetch_sub_u64(&team->shared->taken, (int64) GetMemoryChunkSpace(pointer));
	pfree(pointer);
}

/* ---- a step ---- */

typedef DsCode (*Part)(DsTrainer *trainer, int shard, DsStatus *status);

/* This process's shards, and then the others'; false when someone has failed. */
static bool
run_part(DsTeam *team, Part part)
{
	for (int s = team->index; s < DS_SHARDS; s += team->count)
	{
		DsStatus status;
		DsCode code = part(team->trainer, s, &status);

		if (code != DS_OK)
		{
			fail(team->shared, code, status.message);
			break;
		}
	}
	return wait_for_all(team);
}

/* One batch, from a barrier behind its filling to one behind its last reading */
static bool
run_batch(DsTeam *team, uint32 number)
{
	DsTrainBatch view;
	DsStatus status;
	DsCode code;

	ds_batch_view(team->batch, team->features, &view);
	code = ds_trainer_begin(team->trainer, &view, number, &status);
	if (code != DS_OK)
		fail(team->shared, code, status.message);
	else if (!run_part(team, ds_trainer_forward_shard) || !run_part(team, ds_trainer_loss_shard) ||
			 !run_part(team, ds_trainer_backward_shard))
		return false;
	else
		ds_trainer_reduce(team->trainer, team->index, team->count);
	return wait_for_all(team);
}

static bool
finish_step(DsTeam *team, DsStepResult *result)
{
	DsStatus status;
	DsCode code = ds_trainer_result(team->trainer, result, &status);

	if (code != DS_OK)
		fail(team->shared, code, status.message);
	else
		ds_trainer_update(team->trainer, team->index, team->count);
	return wait_for_all(team);
}

static void
raise_failure(DsTeam *team)
{
	Shared *shared = team->shared;
	DsStatus status;

	/* the leader itself may have been the one that was interrupted */
	CHECK_FOR_INTERRUPTS();
	while (pg_atomic_read_u32(&shared->failed) == 2)
		pg_usleep(10);
	pg_read_barrier();
	memset(&status, 0, sizeof(status));
	strlcpy(status.message, shared->message, sizeof(status.message));
	if (shared->code == DS_CANCELLED && team->count > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ADMIN_SHUTDOWN), errmsg("a training worker was terminated")));
	if (shared->code == DS_OUT_OF_MEMORY)
		ereport(
			ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("%s", status.message),
			 shared->memory < SIZE_MAX
				 ? errdetail("Training may take %zu MB for what a batch leaves on its way.",
							 shared->memory / (1024 * 1024))
				 : 0,
			 errhint("A smaller \"batch_size\" takes less, and with \"accumulate\" a step has as "
					 "many pairs. Transformers have \"cache_texts\", too.")));
	ds_check((DsCode) shared->code, &status);
	ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("a training worker has ended")));
}

void
ds_team_step(DsTeam *team, void (*fill)(void *context, DsBatch *batch), void *context,
			 DsStepResult *result)
{
	for (uint32 i = 0; i < team->accumulate; i++)
	{
		fill(context, team->batch);
		if (!wait_for_all(team) || !run_batch(team, i))
			raise_failure(team);
	}
	if (!finish_step(team, result))
		raise_failure(team);
}

/* ---- attaching ---- */

static void
attach(DsTeam *team, MemoryContext context)
{
	Shared *shared = team->shared;
	DsAllocator allocator = {allocate, release, team};
	DsStatus status;

	team->context = context;
	team->batch = (DsBatch *) ((char *) shared + shared->batch);
	ds_arena_init(&team->arena, &allocator);
	ds_check(ds_trainer_attach((char *) shared + shared->block, shared->block_size, &team->arena,
							   &team->trainer, &status),
			 &status);
	team->cancel = (DsCancel){poll, team};
	ds_trainer_cancel(team->trainer, &team->cancel);
	team->accumulate = ds_trainer_config(team->trainer)->accumulate;
	team->features = ds_trainer_net(team->trainer)->tower[0].body == DS_BODY_FEATURES;
}

/* A process that goes takes the others along. */
static void
worker_gone(dsm_segment *segment, Datum argument pg_attribute_unused())
{
	Shared *shared = dsm_segment_address(segment);

	if (pg_atomic_read_u32(&shared->stop) == 0)
		fail(shared, DS_INVALID, "a training worker has ended");
}

/*
 * Whoever ends in its sleep is still listed in the condition variable, which the
 * server would tidy up when the segment that has it is gone: without a
 * transaction nobody does it before.
 */
static void
stop_waiting(int code pg_attribute_unused(), Datum argument pg_attribute_unused())
{
	ConditionVariableCancelSleep();
}

static void
leader_gone(dsm_segment *segment, Datum argument pg_attribute_unused())
{
	Shared *shared = dsm_segment_address(segment);

	pg_atomic_write_u32(&shared->stop, 1);
	wake_all(shared);
}

extern PGDLLEXPORT void ds_train_worker_main(Datum argument);

void
ds_train_worker_main(Datum argument)
{
	dsm_segment *segment;
	DsTeam *team;
	DsStepResult result;
	int index;

	memcpy(&index, MyBgworkerEntry->bgw_extra, sizeof(index));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	segment = dsm_attach(DatumGetUInt32(argument));
	/* the leader has gone already */
	if (segment == NULL)
		return;
	on_dsm_detach(segment, worker_gone, (Datum) 0);
	before_shmem_exit(stop_waiting, (Datum) 0);
	team = MemoryContextAllocZero(TopMemoryContext, sizeof(DsTeam));
	team->shared = dsm_segment_address(segment);
	team->index = index;
	/* so that it is seen in pg_stat_activity, and goes with its database */
	BackgroundWorkerInitializeConnectionByOid(team->shared->database, team->shared->user, 0);
	pgstat_report_appname("deepsearch training worker");
	pgstat_report_activity(STATE_RUNNING, "ds_train");
	attach(team, TopMemoryContext);
	pg_atomic_fetch_add_u32(&team->shared->ready, 1);
	wake_all(team->shared);
	ConditionVariablePrepareToSleep(&team->shared->moved);
	while (pg_atomic_read_u32(&team->shared->participants) == 0 && !has_failed(team))
		ConditionVariableSleep(&team->shared->moved, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	team->count = (int) pg_atomic_read_u32(&team->shared->participants);
	while (!has_failed(team))
	{
		bool good = true;

		for (uint32 i = 0; good && i < team->accumulate; i++)
			good = wait_for_all(team) && run_batch(team, i);
		if (!good || !finish_step(team, &result))
			break;
	}
	CHECK_FOR_INTERRUPTS();
	dsm_detach(segment);
}

/* ---- the leader ---- */

void
ds_team_end(DsTeam *team)
{
	if (team->ended)
		return;
	team->ended = true;
	if (team->segment != NULL)
		/* and leader_gone() tells the workers */
		dsm_detach(team->segment);
	else if (team->shared != NULL)
		munmap(team->shared, team->shared->size);
	team->shared = NULL;
	ds_arena_free(&team->arena);
}

static void
end_with_context(void *argument)
{
	ds_team_end(argument);
}

static void
start_workers(DsTeam *team, int workers)
{
	MemoryContext caller = MemoryContextSwitchTo(team->context);

	team->handles = palloc0(sizeof(BackgroundWorkerHandle *) * (size_t) Max(workers, 1));
	for (int i = 0; i < workers; i++)
	{
		BackgroundWorker worker;
		int index = i + 1;

		memset(&worker, 0, sizeof(worker));
		worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
		worker.bgw_start_time = BgWorkerStart_ConsistentState;
		worker.bgw_restart_time = BGW_NEVER_RESTART;
		worker.bgw_notify_pid = MyProcPid;
		worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(team->segment));
		strlcpy(worker.bgw_library_name, "deepsearch", sizeof(worker.bgw_library_name));
		strlcpy(worker.bgw_function_name, "ds_train_worker_main", sizeof(worker.bgw_function_name));
		snprintf(worker.bgw_name, sizeof(worker.bgw_name), "deepsearch training worker of %d",
				 MyProcPid);
		strlcpy(worker.bgw_type, "deepsearch training worker", sizeof(worker.bgw_type));
		memcpy(worker.bgw_extra, &index, sizeof(index));
		if (!RegisterDynamicBackgroundWorker(&worker, &team->handles[i]))
			break;
		team->workers++;
	}
	MemoryContextSwitchTo(caller);
}

/* Wait until all have attached. */
static void
wait_for_workers(DsTeam *team)
{
	Shared *shared = team->shared;

	ConditionVariablePrepareToSleep(&shared->moved);
	while (pg_atomic_read_u32(&shared->ready) < (uint32) team->workers && !has_failed(team))
	{
		/* one that dies before it has attached tells nobody */
		for (int i = 0; i < team->workers; i++)
		{
			pid_t pid;

			if (GetBackgroundWorkerPid(team->handles[i], &pid) == BGWH_STOPPED)
				fail(shared, DS_INVALID, "a training worker could not start");
		}
		ConditionVariableTimedSleep(&shared->moved, 100, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	if (has_failed(team))
		raise_failure(team);
	team->count = team->workers + 1;
	pg_atomic_write_u32(&shared->participants, (uint32) team->count);
	wake_all(shared);
}

/* Would so much shared memory be given?  Asked only where the number of processes is ours to choose. */
static bool
fits_in_shared_memory(Size size)
{
	struct statvfs info;

	if (dynamic_shared_memory_type != DSM_IMPL_POSIX || statvfs("/dev/shm", &info) != 0)
		return true;
	return (double) info.f_bavail * (double) info.f_frsize > 1.1 * (double) size;
}

int
ds_team_wish(uint32 wish)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int allowed = Min(max_parallel_maintenance_workers, max_parallel_workers) + 1;

	if (wish > 0)
		return (int) Min(wish, DS_SHARDS);
	/* three would wait for the one with two shards, as two do */
	allowed = (int) Min((long) allowed, Max(processors, 1));
	return allowed >= 4 ? 4 : allowed >= 2 ? 2 : 1;
}

DsTeam *
ds_team_create(const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
			   Size batch_size, int processes)
{
	DsTeam *team = palloc0(sizeof(DsTeam));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	Size batch = TYPEALIGN(64, sizeof(Shared));
	Size block = TYPEALIGN(4096, batch + batch_size);
	size_t block_size;
	Size size;
	/* before it takes some itself */
	Size memory_limit = ds_training_memory();
	void *memory;
	DsStatus status;

	ds_check(ds_trainer_size(net, config, limits, &block_size, &status), &status);
	size = block + block_size;
	team->context = CurrentMemoryContext;
	team->count = 1;
	callback->func = end_with_context;
	callback->arg = team;
	MemoryContextRegisterResetCallback(team->context, callback);
	if (processes > 1 && fits_in_shared_memory(size))
	{
		team->segment = dsm_create(size, 0);
		/* it outlives the subtransaction */
		dsm_pin_mapping(team->segment);
		memory = dsm_segment_address(team->segment);
	}
	else
	{
		/* pages that nobody touches cost nothing */
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
							errdetail("Training needs %zu bytes.", (size_t) size)));
	}
	ds_prefer_large_pages(memory, size);
	team->shared = memory;
	team->shared->database = MyDatabaseId;
	team->shared->user = GetAuthenticatedUserId();
	team->shared->size = size;
	team->shared->batch = batch;
	team->shared->block = block;
	team->shared->block_size = block_size;
	pg_atomic_init_u32(&team->shared->arrived, 0);
	pg_atomic_init_u32(&team->shared->generation, 0);
	pg_atomic_init_u32(&team->shared->participants, 0);
	pg_atomic_init_u32(&team->shared->ready, 0);
	pg_atomic_init_u32(&team->shared->failed, 0);
	pg_atomic_init_u32(&team->shared->stop, 0);
	pg_atomic_init_u64(&team->shared->taken, 0);
	team->shared->memory = memory_limit;
	ConditionVariableInit(&team->shared->moved);
	ds_check(ds_trainer_format((char *) memory + block, block_size, net, config, limits, &status),
			 &status);
	attach(team, team->context);
	if (team->segment != NULL)
	{
		on_dsm_detach(team->segment, leader_gone, (Datum) 0);
		start_workers(team, processes - 1);
		wait_for_workers(team);
	}
	return team;
}

DsTrainer *
ds_team_trainer(DsTeam *team)
{
	return team->trainer;
}

int
ds_team_processes(const DsTeam *team)
{
	return team->count;
}
