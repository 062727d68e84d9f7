/*
 * plan.c
 *		Clauses on filter columns that the planner leaves to the executor.
 *
 * PostgreSQL before 17 drops `= ANY` on a column behind the first from a scan
 * that is ordered, because a B-tree's would not be, and before 16 it recognises
 * boolean columns (`WHERE in_stock`) for the operator families of its own only.
 * So the cost of an ordered scan of our indexes counts these clauses as index
 * conditions from the start (ds_index_cost()), lest it is given up for a scan of
 * an index without the column, and a hook makes index conditions of them in the
 * scans that are left.
 *
 * Since 17 there is nothing to do.
 */
#include "index/filter.h"

#include "access/stratnum.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"

#if PG_VERSION_NUM < 170000

static set_rel_pathlist_hook_type previous_hook = NULL;

/* column = ANY (array): what index condition it is, NIL if none */
static List *
array_condition(PlannerInfo *root, IndexOptInfo *index, int column, RestrictInfo *restriction)
{
	ScalarArrayOpExpr *clause = (ScalarArrayOpExpr *) restriction->clause;
	Node *left;
	Node *right;

	if (!IsA(clause, ScalarArrayOpExpr) || !clause->useOr || list_length(clause->args) != 2)
		return NIL;
	left = linitial(clause->args);
	right = lsecond(clause->args);
	if (!match_index_to_operand(left, column, index) ||
		(OidIsValid(index->indexcollations[column]) &&
		 index->indexcollations[column] != clause->inputcollid) ||
		!op_in_opfamily(clause->opno, index->opfamily[column]) ||
		bms_is_member((int) index->rel->relid, pull_varnos(root, right)) ||
		contain_volatile_functions(right))
		return NIL;
	return list_make1(restriction);
}

#if PG_VERSION_NUM < 160000

static List *
equals_bool(PlannerInfo *root, Node *operand, bool value)
{
	return list_make1(make_simple_restrictinfo(
		root, make_opclause(BooleanEqualOperator, BOOLOID, false, (Expr *) operand,
							(Expr *) makeBoolConst(value, false), InvalidOid, InvalidOid)));
}

/* column, NOT column, column IS TRUE, column IS FALSE */
static List *
bool_condition(PlannerInfo *root, IndexOptInfo *index, int column, RestrictInfo *restriction)
{
	Node *clause = (Node *) restriction->clause;

	if (index->opcintype[column] != BOOLOID ||
		!op_in_opfamily(BooleanEqualOperator, index->opfamily[column]))
		return NIL;
	if (match_index_to_operand(clause, column, index))
		return equals_bool(root, clause, true);
	if (is_notclause(clause))
	{
		clause = (Node *) get_notclausearg((Expr *) clause);
		return match_index_to_operand(clause, column, index) ? equals_bool(root, clause, false)
															 : NIL;
	}
	if (IsA(clause, BooleanTest))
	{
		BooleanTest *test = (BooleanTest *) clause;

		if ((test->booltesttype == IS_TRUE || test->booltesttype == IS_FALSE) &&
			match_index_to_operand((Node *) test->arg, column, index))
			return equals_bool(root, (Node *) test->arg, test->booltesttype == IS_TRUE);
	}
	return NIL;
}

#endif

/* The index conditions of path with those added that the planner dropped; NIL if there are none. */
static List *
more_conditions(PlannerInfo *root, RelOptInfo *rel, IndexPath *path)
{
	IndexOptInfo *index = path->indexinfo;
	List *all = NIL;
	bool any = false;

	/* in the order of the index's columns, as the executor wants them */
	for (int column = 0; column < index->nkeycolumns; column++)
	{
		ListCell *cell;

		foreach (cell, path->indexclauses)
			if (((IndexClause *) lfirst(cell))->indexcol == column)
				all = lappend(all, lfirst(cell));
		if (column == 0)
			continue;
		foreach (cell, rel->baserestrictinfo)
		{
			RestrictInfo *restriction = lfirst(cell);
			List *quals;
			IndexClause *clause;

			if (restriction->pseudoconstant ||
				!restriction_is_securely_promotable(restriction, rel) ||
				is_redundant_with_indexclauses(restriction, path->indexclauses))
				continue;
			quals = array_condition(root, index, column, restriction);
#if PG_VERSION_NUM < 160000
			if (quals == NIL)
				quals = bool_condition(root, index, column, restriction);
#endif
			if (quals == NIL)
				continue;
			clause = makeNode(IndexClause);
			clause->rinfo = restriction;
			clause->indexquals = quals;
			clause->indexcol = (AttrNumber) column;
			all = lappend(all, clause);
			any = true;
		}
	}
	return any ? all : NIL;
}

List *
ds_plan_conditions(PlannerInfo *root, IndexPath *path)
{
	return path->indexinfo->nkeycolumns > 1 && path->indexorderbys != NIL
			   ? more_conditions(root, path->indexinfo->rel, path)
			   : NIL;
}

/*
 * In place: a path beside it would cost the same, and add_path() would keep
 * the one that was there first.
 */
static void
complete_paths(PlannerInfo *root, RelOptInfo *rel, Index number, RangeTblEntry *entry)
{
	ListCell *cell;

	if (previous_hook)
		previous_hook(root, rel, number, entry);
	if (entry->rtekind != RTE_RELATION || rel->baserestrictinfo == NIL)
		return;
	foreach (cell, rel->pathlist)
	{
		IndexPath *path = lfirst(cell);
		List *conditions;

		if (!IsA(path, IndexPath) || path->indexinfo->amcostestimate != ds_index_cost)
			continue;
		conditions = ds_plan_conditions(root, path);
		if (conditions != NIL)
			path->indexclauses = conditions;
	}
}

#else

List *
ds_plan_conditions(PlannerInfo *root, IndexPath *path)
{
	(void) root;
	(void) path;
	return NIL;
}

#endif

void
ds_init_plan(void)
{
#if PG_VERSION_NUM < 170000
	previous_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = complete_paths;
#endif
}
