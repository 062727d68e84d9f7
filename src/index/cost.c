/*
 * cost.c
 *		What a scan costs, for the planner; and how many lists a recall needs.
 */
#include "index/index.h"

#include <math.h>

#include "access/relation.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

const uint32 ds_curve_rows[DS_CURVE_ROWS] = {10, 100, 1000};
const double ds_curve_recalls[DS_CURVE_RECALLS] = {0.5,	 0.7,  0.8,	 0.9,	0.95,
												   0.97, 0.98, 0.99, 0.995, 0.999};

/*
 * How far beyond the target the curve is read: the curve was measured on a few
 * hundred rows of the table, and queries are not rows.  The gap is read farther,
 * because it follows the neighbours that were seen more closely.
 */
#define RECALL_MARGIN 0.4
#define GAP_MARGIN 0.7

/*
 * Where rows come in tight groups, the curve says that one list holds what is
 * near to a row: its own.  A query, which lies between the groups, needs a few
 * more: as many as this, times the logarithm of the share that may be missed.
 * Seven at the default target.  In the demo (6,000 products; texts of queries
 * and of products by one model) one list found 0.98 of the exact answer and
 * nothing for three queries of 392; in a catalogue of 20,000 three lists found
 * 0.94, four 0.978, six 0.986, eight 0.990.  A list more costs 1 to 2 us there.
 */
#define LEAST_PROBES 2.0

/*
 * A point of the curve: the lower of the two between which `wanted` is, and
 * how far it is to the next; in the logarithm of what is missed.
 */
static int
curve_point(double wanted, double *part)
{
	int i = 0;
	double low;
	double high;

	while (i < DS_CURVE_RECALLS - 2 && ds_curve_recalls[i + 1] < wanted)
		i++;
	low = log(1 - ds_curve_recalls[i]);
	high = log(1 - ds_curve_recalls[i + 1]);
	*part = (low - log(Max(1 - wanted, 1e-9))) / (low - high);
	*part = Max(*part, 0);
	return i;
}

static double
wanted_for(double recall)
{
	return recall + RECALL_MARGIN * (1 - recall);
}

double
ds_expected_recall(double recall)
{
	/* of 1-bit bounds that fail, one in eight loses a row (scan.c) */
	return recall + GAP_MARGIN * (1 - recall) - 0.1 * (1 - recall);
}

/* Lists that a scan opens whatever their distance */
uint32
ds_least_probes(double recall)
{
	return (uint32) ceil(LEAST_PROBES * -log(Max(1 - wanted_for(recall), 1e-6)));
}

/*
 * Lists to open so that a scan finds `recall` of the nearest
 * ds_curve_rows[stage] rows.
 *
 * An index that was made on an empty table and grew has no curve.  On the data
 * sets tried, the lists needed grow a little slower than the root of their
 * number, and each halving of what may be missed costs about as many again;
 * the constants are above what the hardest of them needed.
 */
uint32
ds_probes_for(const DsMeta *meta, int stage, double recall)
{
	static const double stage_factor[DS_CURVE_ROWS] = {1, 1.8, 4};
	double wanted = wanted_for(recall);
	double probes;

	if (meta->lists == 0)
		return 0;
	if (meta->curve_lists > 0)
	{
		double part;
		int i = curve_point(wanted, &part);

		probes = meta->curve[stage][i];
		if (part > 1)
			probes = 2.0 * meta->curve[stage][i + 1];
		else
			probes += part * (meta->curve[stage][i + 1] - probes);
		probes *= (double) meta->lists / meta->curve_lists;
		probes = Max(probes, ds_least_probes(recall));
	}
	else
		probes = 3 + 0.5 * -log(Max(1 - wanted, 1e-6)) * sqrt(meta->lists) * stage_factor[stage];
	return (uint32) Max(1, Min(ceil(probes), meta->lists));
}

/*
 * The same between the points of the curve and beyond its end: stage 0 is for
 * ten rows, 1 for a hundred, and so on.
 */
double
ds_probes_at(const DsMeta *meta, double stage, double recall)
{
	int low = Max(Min((int) stage, DS_CURVE_ROWS - 2), 0);
	double part = Max(stage - low, 0);
	double first = ds_probes_for(meta, low, recall);
	double second = ds_probes_for(meta, low + 1, recall);
	double probes = first * pow(second / Max(first, 1), Min(part, 1)) * pow(10, Max(part - 1, 0));

	return Min(probes, meta->lists);
}

/*
 * The same as a distance: the gap (ds_list_gap()) beyond which lists need not
 * be opened; infinite when no curve was measured.
 *
 * Why a gap.  A row x near the query is in list i instead of the nearest list
 * 0 if it lies beyond the plane between their centroids, whose distance from
 * the query is (|q - c_i|^2 - |q - c_0|^2) / 2 |c_i - c_0|.  So the difference
 * of squares says how likely that is, where a number of lists says nothing
 * about how near they are: queries differ much in that.
 */
double
ds_gap_for(const DsMeta *meta, int stage, double recall)
{
	double part;
	int i;

	if (meta->curve_lists == 0)
		return INFINITY;
	i = curve_point(recall + GAP_MARGIN * (1 - recall), &part);
	return meta->curve_gap[stage][i] +
		   Min(part, 3) * (meta->curve_gap[stage][i + 1] - (double) meta->curve_gap[stage][i]);
}

double
ds_expected_probes(const DsMeta *meta, double recall)
{
	double most = ds_probes_for(meta, 0, recall);
	double part;
	double opened;
	int i;

	if (meta->curve_lists == 0 || meta->lists == 0)
		return most;
	i = curve_point(recall + GAP_MARGIN * (1 - recall), &part);
	opened = meta->curve_opened[i] +
			 Min(part, 3) * (meta->curve_opened[i + 1] - (double) meta->curve_opened[i]);
	opened *= (double) meta->lists / meta->curve_lists;

	/* a scan's own limits */
	opened = Min(opened, DS_MOST_TIMES * most);
	return Min(Max(opened, ds_least_probes(recall)), meta->lists);
}

/*
 * The order in which lists are opened, least first.  key is the square of
 * |q - c|, or <q, c>.  A list with a row that could not be encoded comes first,
 * for it may be anywhere.  For inner products, lists that reach far may have
 * more to give than their centroids: of the rows of a list, the best one
 * exceeds the centroid by a few deviations of |q| |r| / sqrt(d).
 */
double
ds_list_key(const DsMeta *meta, double query_norm, float key, float radius)
{
	double result = key;

	if (isinf(radius) || isnan(radius))
		return -INFINITY;
	if (meta->metric == DS_METRIC_IP)
		result = -result - query_norm * radius * Min(1, 2 / sqrt(meta->dimension));
	return isnan(result) ? INFINITY : result;
}

/*
 * A scan pays for the first round before it returns a row: the codes of all
 * centroids, the blocks of the lists that it opens, and the codes of the rows
 * that it refines.  After that a row costs its 8-bit code, and what a row of
 * any index does.
 * Pages are counted as random reads, and the planner adds the heap's.
 */
void
ds_index_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
			  Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	List *conditions = ds_plan_conditions(root, path);
	IndexPath whole = *path;
	GenericCosts costs;
	double random_page_cost_here;
	double rows = Max(info->tuples, 1);
	double lists;
	double probes;
	double dimension;
	double list_pages;
	double code_pages;
	double open_pages;
	double start;
	double share;
	double passing;
	double refined;
	DsMeta meta;
	DsLayout layout;
	Relation index;

	memset(&costs, 0, sizeof(costs));
	costs.numIndexTuples = rows;
	if (conditions != NIL)
		whole.indexclauses = conditions;
	genericcostestimate(root, &whole, loop_count, &costs);
	get_tablespace_page_costs(info->reltablespace, &random_page_cost_here, NULL);

	memset(&meta, 0, sizeof(meta));
	if (!info->hypothetical)
	{
		index = relation_open(info->indexoid, NoLock);
		ds_meta_read(index, &meta);
		relation_close(index, NoLock);
	}

	*selectivity = costs.indexSelectivity;
	*correlation = 0;
	*pages = costs.numIndexPages;

	/* an array is one condition here, not a scan an element */
	*total = costs.indexTotalCost / Max(costs.num_sa_scans, 1);
	*startup = 0;
	if (path->path.pathtype == T_IndexOnlyScan)
	{
		/* count(*) needs no column; but no page stays pinned that would keep VACUUM out */
		DS_DISABLE_PATH(path);
		*startup = *total = get_float8_infinity();
		return;
	}
	if (path->indexorderbys == NIL || meta.dimension == 0 || meta.lists == 0)
		return;

	ds_layout_init(&layout, &meta);
	lists = meta.lists;
	dimension = meta.dimension;
	/*
	 * Where few rows pass the conditions, as many lists as for so many more
	 * rows (scan.c).  The executor's conditions count as those of the index do,
	 * for a scan goes on until it has what LIMIT wants.
	 */
	if (ds_setting_probes > 0)
		probes = Min(ds_setting_probes, lists);
	else
	{
		double recall = ds_setting_target_recall;
		double stage = -log10(Min(Max(path->path.rows, 1) / rows, 1));

		probes = ds_expected_probes(&meta, recall) * ds_probes_at(&meta, stage, recall) /
				 Max(ds_probes_at(&meta, 0, recall), 1);
		probes = Min(probes, lists);
	}
	if (ds_setting_target_recall >= 1 && ds_setting_probes == 0)
		probes = Max(probes, lists / 2);
	share = probes / lists;
	list_pages = Max(ceil(rows / DS_BLOCK_ROWS / layout.blocks_per_page), lists);

	/*
	 * Blocks, plus the codes of some fifty rows, which are somewhere in the open
	 * lists.  Of rows that only the executor leaves out, so many more are refined.
	 */
	passing = Max(costs.indexSelectivity * rows, 1);
	code_pages = share * passing * layout.row_bytes / DS_PAGE_SPACE + 1;
	refined = 50 / Min(Max(path->path.rows, 1) / passing, 1);
	open_pages = Min(share * list_pages + Min(refined, code_pages), info->pages);
	start = open_pages * random_page_cost_here +
			(lists * dimension / 2048 + share * passing * dimension / 256) * cpu_operator_cost;
	*startup = start;
	*total += start + costs.indexSelectivity * rows * (2 + dimension / 64) * cpu_operator_cost;
}
