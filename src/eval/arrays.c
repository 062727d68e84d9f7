/*
 * arrays.c
 *		The metrics as plain SQL functions over arrays of ids.
 *
 * Ids may have any type with an equality operator.  The rules, the same for
 * every function: all arrays have one dimension; a null argument gives null; a
 * null among the relevant ids is passed over, so that array_agg() over an
 * outer join does what one expects; without a relevant document the measures
 * are undefined, and null, so that avg() leaves the query out; a null among the retrieved ids takes its place in the list and is not
 * relevant, and neither is an id that was in the list before.
 */
#include "server.h"

#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "eval/evaluate.h"
#include "eval/metrics.h"

/* A set of ids: open addressing over an array of entries */
typedef struct Entry
{
	Datum id;
	double grade;
	bool seen; /* was in the retrieved list already */
} Entry;

typedef struct IdSet
{
	TypeCacheEntry *type;
	Oid collation;
	Entry *entries;
	uint32 n;
	uint32 *slots; /* index of an entry + 1; 0 is free */
	uint32 mask;
} IdSet;

static void
set_init(IdSet *set, Oid type, Oid collation, size_t capacity)
{
	uint64 slots = 16;

	set->type = lookup_type_cache(type, TYPECACHE_EQ_OPR_FINFO | TYPECACHE_HASH_PROC_FINFO);
	if (!OidIsValid(set->type->eq_opr_finfo.fn_oid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("could not identify an equality operator for type %s",
							   format_type_be(type))));
	set->collation = collation;
	set->n = 0;
	set->entries = palloc_extended(sizeof(Entry) * Max(capacity, 1), MCXT_ALLOC_HUGE);
	while (slots < 2 * (uint64) capacity)
		slots *= 2;
	set->slots = palloc_extended(sizeof(uint32) * slots, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	set->mask = (uint32) (slots - 1);
}

/* The id's entry; when there is none, a new one if insert is given, else NULL. */
static Entry *
set_find(IdSet *set, Datum id, bool insert, bool *found)
{
	uint32 slot = 0;

	/* without a hash function the set is searched from its beginning */
	if (OidIsValid(set->type->hash_proc_finfo.fn_oid))
		slot = DatumGetUInt32(FunctionCall1Coll(&set->type->hash_proc_finfo, set->collation, id));
	for (slot &= set->mask; set->slots[slot] != 0; slot = (slot + 1) & set->mask)
	{
		Entry *entry = &set->entries[set->slots[slot] - 1];

		if (DatumGetBool(
				FunctionCall2Coll(&set->type->eq_opr_finfo, set->collation, entry->id, id)))
		{
			*found = true;
			return entry;
		}
	}
	*found = false;
	if (!insert)
		return NULL;
	set->slots[slot] = ++set->n;
	set->entries[set->n - 1] = (Entry){.id = id};
	return &set->entries[set->n - 1];
}

/* A retrieved list as the metrics want it */
typedef struct Judged
{
	double *grade; /* [n], by rank */
	size_t n;
	double *ideal; /* [relevant], the largest first */
	size_t relevant;
} Judged;

static void
read_array(ArrayType *array, const char *name, Datum **values, bool **nulls, int *n)
{
	int16 length;
	bool by_value;
	char align;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("\"%s\" must be an array of one dimension", name)));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, values, nulls, n);
}

/* False when no document is relevant. */
static bool
judge(FunctionCallInfo fcinfo, ArrayType *grades, DsGain gain, Judged *judged)
{
	ArrayType *retrieved = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType *relevant = PG_GETARG_ARRAYTYPE_P(1);
	Datum *ids;
	bool *nulls;
	int n;
	Datum *grade = NULL;
	bool *grade_nulls = NULL;
	int n_grades = 0;
	IdSet set;
	DsStatus status;

	read_array(relevant, "relevant", &ids, &nulls, &n);
	if (grades)
	{
		read_array(grades, "grades", &grade, &grade_nulls, &n_grades);
		if (n_grades != n)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("\"grades\" must have as many elements as \"relevant\""),
					 errdetail("\"relevant\" has %d elements, \"grades\" has %d.", n, n_grades)));
	}
	set_init(&set, ARR_ELEMTYPE(relevant), PG_GET_COLLATION(), n);
	for (int i = 0; i < n; i++)
	{
		double value = 1;
		bool found;
		Entry *entry;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		if (grades)
		{
			if (grade_nulls[i])
				ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
								errmsg("a grade must not be null")));
			value = DatumGetFloat8(grade[i]);
			ds_check(ds_grade_check(value, gain, &status), &status);
		}
		entry = set_find(&set, ids[i], true, &found);
		if (found && entry->grade != value)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a document has two grades, %g and %g", entry->grade, value)));
		entry->grade = value;
	}

	judged->ideal = palloc_extended(sizeof(double) * Max(set.n, 1), MCXT_ALLOC_HUGE);
	judged->relevant = 0;
	for (uint32 i = 0; i < set.n; i++)
	{
		if (set.entries[i].grade > 0)
			judged->ideal[judged->relevant++] = set.entries[i].grade;
	}
	if (judged->relevant == 0)
		return false;
	ds_sort_grades(judged->ideal, judged->relevant);

	read_array(retrieved, "retrieved", &ids, &nulls, &n);
	judged->n = (size_t) n;
	judged->grade = palloc_extended(sizeof(double) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		bool found = false;
		Entry *entry;

		CHECK_FOR_INTERRUPTS();
		entry = nulls[i] ? NULL : set_find(&set, ids[i], false, &found);
		judged->grade[i] = found && !entry->seen ? entry->grade : 0;
		if (found)
			entry->seen = true;
	}
	return true;
}

size_t
ds_check_k(int k)
{
	if (k < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("k must be at least 1, not %d", k)));
	return (size_t) k;
}

DsGain
ds_check_gain(const char *name)
{
	if (strcmp(name, "linear") == 0)
		return DS_GAIN_LINEAR;
	if (strcmp(name, "exponential") == 0)
		return DS_GAIN_EXPONENTIAL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown gain \"%s\"", name),
			 errhint("\"linear\" (the grade) or \"exponential\" (2 to the grade, minus 1).")));
}

DS_FUNCTION(ds_precision_at);
Datum
ds_precision_at(PG_FUNCTION_ARGS)
{
	size_t k = ds_check_k(PG_GETARG_INT32(2));
	Judged judged;

	if (!judge(fcinfo, NULL, DS_GAIN_LINEAR, &judged))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(ds_precision(judged.grade, judged.n, k));
}

DS_FUNCTION(ds_recall_at);
Datum
ds_recall_at(PG_FUNCTION_ARGS)
{
	size_t k = ds_check_k(PG_GETARG_INT32(2));
	Judged judged;

	if (!judge(fcinfo, NULL, DS_GAIN_LINEAR, &judged))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(ds_recall(judged.grade, judged.n, judged.relevant, k));
}

DS_FUNCTION(ds_mrr_at);
Datum
ds_mrr_at(PG_FUNCTION_ARGS)
{
	size_t k = ds_check_k(PG_GETARG_INT32(2));
	Judged judged;

	if (!judge(fcinfo, NULL, DS_GAIN_LINEAR, &judged))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(ds_reciprocal_rank(judged.grade, judged.n, k));
}

DS_FUNCTION(ds_hit_at);
Datum
ds_hit_at(PG_FUNCTION_ARGS)
{
	size_t k = ds_check_k(PG_GETARG_INT32(2));
	Judged judged;

	if (!judge(fcinfo, NULL, DS_GAIN_LINEAR, &judged))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(ds_hit(judged.grade, judged.n, k) ? 1 : 0);
}

DS_FUNCTION(ds_average_precision_of);
Datum
ds_average_precision_of(PG_FUNCTION_ARGS)
{
	/* without k, the whole list */
	size_t k = PG_NARGS() > 2 ? ds_check_k(PG_GETARG_INT32(2)) : SIZE_MAX;
	Judged judged;

	if (!judge(fcinfo, NULL, DS_GAIN_LINEAR, &judged))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(ds_average_precision(judged.grade, judged.n, judged.relevant, k));
}

DS_FUNCTION(ds_ndcg_at);
Datum
ds_ndcg_at(PG_FUNCTION_ARGS)
{
	bool graded = PG_NARGS() > 3;
	ArrayType *grades = graded ? PG_GETARG_ARRAYTYPE_P(2) : NULL;
	size_t k = ds_check_k(PG_GETARG_INT32(graded ? 3 : 2));
	DsGain gain = graded ? ds_check_gain(text_to_cstring(PG_GETARG_TEXT_PP(4))) : DS_GAIN_LINEAR;
	Judged judged;

	if (!judge(fcinfo, grades, gain, &judged))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(ds_ndcg(judged.grade, judged.n, judged.ideal, judged.relevant, k, gain));
}
