/*
 * plot.c
 *		ds_plot_run(run): a training as an SVG drawing.
 *
 * Panels below each other share the axis of steps: the loss, the metrics of
 * the evaluations, the learning rate, the gradient's norm.  A long run is
 * drawn by at most POINTS means, with the range that they stand for behind
 * them, so that the drawing's size does not depend on the run's.
 */
#include "server.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/xml.h"

#include "model/catalog.h"

#define POINTS 400
#define WIDTH 960
#define LEFT 76
#define RIGHT 24
#define GAP 46 /* between panels: title and legend of the next one */
#define METRICS_MAX 8
#define NAME_MAX_BYTES 64

static const char *const colours[METRICS_MAX] = {"#0b6e4f", "#b3541e", "#6a3fa0", "#1f6fb2",
												 "#a4243b", "#7a7a1e", "#0f7b8a", "#555555"};

typedef struct Point
{
	double step;
	double value;
	double low;
	double high;
	bool best;
} Point;

typedef struct Line
{
	char name[NAME_MAX_BYTES];
	const char *colour;
	Point *points;
	int count;
	bool marks; /* a dot at each point */
	bool range; /* low and high are drawn */
} Line;

typedef struct Panel
{
	const char *title;
	int height;
	Line lines[METRICS_MAX];
	int count;
	bool from_zero;
} Panel;

typedef struct Plot
{
	StringInfoData out;
	double first; /* step at the left end */
	double last;
	int top; /* of the next panel */
	int *epoch; /* the steps that ended epochs */
	int epochs;
} Plot;

extern Datum ds_sql_may_use_model(PG_FUNCTION_ARGS);

/* ---- numbers and text ---- */

static void
put_text(StringInfo out, const char *text)
{
	char *escaped = escape_xml(text);

	appendStringInfoString(out, escaped);
	pfree(escaped);
}

/* The distance of ticks, 1, 2 or 5 times a power of ten, so that about so many fit */
static double
tick_distance(double range, int ticks)
{
	double raw = range / ticks;
	double power = pow(10, floor(log10(raw)));
	double part = raw / power;

	return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static char *
number_label(double value, double distance)
{
	double size = fabs(value);
	int digits = (int) Max(0, ceil(-log10(distance) - 1e-9));

	if (size < distance * 1e-6)
		return pstrdup("0");
	if (distance < 1e-4 || size >= 1e7)
		return psprintf("%.*e", 1, value);
	return psprintf("%.*f", digits, value);
}

static double
x_of(const Plot *plot, double step)
{
	double range = Max(plot->last - plot->first, 1);

	return LEFT + (step - plot->first) / range * (WIDTH - LEFT - RIGHT);
}

/* ---- reading ---- */

/* The current user may look at this run; its title. */
static char *
read_run(int32 run)
{
	static const Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(run)};
	DsCatalogScope scope;
	char *title = NULL;
	bool null;

	ds_catalog_enter(&scope);
	if (ds_catalog_run("SELECT r.model, r.state, r.started_by, r.pairs, r.version, r.epochs"
					   " FROM @.ds_training_run r WHERE r.id = $1",
					   1, types, values, NULL) == 1)
	{
		LOCAL_FCINFO(call, 2);
		char *model = TextDatumGetCString(ds_catalog_value(0, 1, &null));
		char *state = TextDatumGetCString(ds_catalog_value(0, 2, &null));
		NameData owner = *DatumGetName(ds_catalog_value(0, 3, &null));
		int64 pairs = DatumGetInt64(ds_catalog_value(0, 4, &null));
		int32 version;
		bool no_version;

		version = DatumGetInt32(ds_catalog_value(0, 5, &no_version));
		title = no_version ? psprintf("Run %d of model %s: " INT64_FORMAT " pairs, %s", run, model,
									  pairs, state)
						   : psprintf("Run %d of model %s: " INT64_FORMAT " pairs, version %d", run,
									  model, pairs, version);
		ds_catalog_leave(&scope);
		InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
		call->args[0].value = NameGetDatum(&owner);
		call->args[0].isnull = false;
		call->args[1].isnull = true;
		if (DatumGetBool(ds_sql_may_use_model(call)))
			return title;
	}
	else
		ds_catalog_leave(&scope);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no training run %d of yours", run),
			 errhint("The view ds_training_runs shows them.")));
}

static double
real_value(uint64 row, int column)
{
	bool null;
	Datum value = ds_catalog_value(row, column, &null);

	return null ? NAN : DatumGetFloat8(value);
}

/* Loss, learning rate and norm, in means of some steps; returns how many steps a point stands for. */
static int64
read_steps(Plot *plot, int32 run, Line *loss, Line *rate, Line *norm)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	Datum values[2] = {Int32GetDatum(run), Int32GetDatum(POINTS)};
	Line *lines[3] = {loss, rate, norm};
	uint64 count;
	int64 steps;
	bool null;

	count = ds_catalog_execute(
		"SELECT avg(s.step)::float8, avg(s.loss), min(s.loss), max(s.loss), avg(s.learning_rate),"
		" avg(s.gradient_norm), min(s.gradient_norm), max(s.gradient_norm), b.first::float8, b.last::float8,"
		" greatest(1, (b.last - b.first) / $2 + 1)"
		" FROM @.ds_training_step s,"
		" (SELECT min(t.step), max(t.step) FROM @.ds_training_step t WHERE t.run = $1) b(first, last)"
		" WHERE s.run = $1 GROUP BY b.first, b.last,"
		" (s.step - b.first) / greatest(1, (b.last - b.first) / $2 + 1) ORDER BY 1",
		2, types, values, NULL);
	for (int i = 0; i < 3; i++)
	{
		lines[i]->points = palloc0(sizeof(Point) * Max(count, 1));
		lines[i]->count = (int) count;
	}
	if (count == 0)
		return 0;
	for (uint64 i = 0; i < count; i++)
	{
		double step = real_value(i, 1);

		loss->points[i] =
			(Point){step, real_value(i, 2), real_value(i, 3), real_value(i, 4), false};
		rate->points[i].step = step;
		rate->points[i].value = rate->points[i].low = rate->points[i].high = real_value(i, 5);
		norm->points[i] =
			(Point){step, real_value(i, 6), real_value(i, 7), real_value(i, 8), false};
	}
	plot->first = real_value(0, 9);
	plot->last = real_value(0, 10);
	steps = DatumGetInt64(ds_catalog_value(0, 11, &null));
	loss->range = norm->range = steps > 1;
	return steps;
}

static void
read_metrics(Plot *plot, int32 run, Panel *panel)
{
	static const Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(run)};
	uint64 count = ds_catalog_execute("SELECT m.name, m.step::float8, m.value, m.best, m.place"
									  " FROM @.ds_training_metric m WHERE m.run = $1"
									  " ORDER BY m.place, m.name, m.step",
									  1, types, values, NULL);

	for (uint64 i = 0; i < count; i++)
	{
		bool null;
		char *name = TextDatumGetCString(ds_catalog_value(i, 1, &null));
		Line *line = panel->count > 0 ? &panel->lines[panel->count - 1] : NULL;
		Point *point;

		if (line == NULL || strncmp(line->name, name, NAME_MAX_BYTES - 1) != 0)
		{
			if (panel->count == METRICS_MAX)
				break;
			line = &panel->lines[panel->count];
			line->colour = colours[panel->count++];
			strlcpy(line->name, name, NAME_MAX_BYTES);
			line->points = palloc0(sizeof(Point) * count);
			line->marks = true;
		}
		point = &line->points[line->count++];
		point->step = real_value(i, 2);
		point->value = point->low = point->high = real_value(i, 3);
		/* the last best one is the one that counts */
		if (DatumGetBool(ds_catalog_value(i, 4, &null)) &&
			DatumGetInt32(ds_catalog_value(i, 5, &null)) == 1)
		{
			for (int p = 0; p < line->count; p++)
				line->points[p].best = false;
			point->best = true;
		}
		plot->first = Min(plot->first, point->step);
		plot->last = Max(plot->last, point->step);
	}
}

static void
read_epochs(Plot *plot, int32 run)
{
	static const Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(run)};
	uint64 count = ds_catalog_execute("SELECT max(s.step)::int4 FROM @.ds_training_step s"
									  " WHERE s.run = $1 GROUP BY s.epoch ORDER BY s.epoch",
									  1, types, values, NULL);

	plot->epoch = palloc(sizeof(int) * Max(count, 1));
	plot->epochs = (int) count;
	for (uint64 i = 0; i < count; i++)
	{
		bool null;

		plot->epoch[i] = DatumGetInt32(ds_catalog_value(i, 1, &null));
	}
}

/* ---- drawing ---- */

static void
draw_epochs(Plot *plot, int top, int height, bool labels)
{
	int every = (plot->epochs + 11) / 12;

	for (int e = 0; e < plot->epochs; e++)
	{
		double x = x_of(plot, plot->epoch[e]);

		if ((e + 1) % Max(every, 1) != 0)
			continue;
		if (e + 1 < plot->epochs)
			appendStringInfo(
				&plot->out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"epoch\"/>\n",
				x, top, x, top + height);
		if (labels)
			appendStringInfo(
				&plot->out,
				"<text x=\"%.1f\" y=\"%d\" class=\"small\" text-anchor=\"end\">epoch %d</text>\n",
				x - 3, top + 12, e + 1);
	}
}

static void
draw_steps(Plot *plot, int y)
{
	double distance = Max(tick_distance(Max(plot->last - plot->first, 1), 8), 1);

	for (double step = ceil(plot->first / distance) * distance; step <= plot->last;
		 step += distance)
	{
		double x = x_of(plot, step);

		appendStringInfo(&plot->out,
						 "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"axis\"/>"
						 "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n",
						 x, y, x, y + 5, x, y + 19, step);
	}
	appendStringInfo(&plot->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n",
					 (LEFT + WIDTH - RIGHT) / 2, y + 36);
}

static void
draw_legend(Plot *plot, const Panel *panel, int y)
{
	int x = WIDTH - RIGHT;

	/* from the right; a letter is about 7 wide */
	for (int l = panel->count - 1; l >= 0; l--)
	{
		const Line *line = &panel->lines[l];

		x -= 7 * pg_mbstrlen(line->name) + 8;
		appendStringInfo(&plot->out, "<text x=\"%d\" y=\"%d\">", x, y);
		put_text(&plot->out, line->name);
		appendStringInfoString(&plot->out, "</text>");
		appendStringInfo(
			&plot->out,
			"<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2.5\"/>\n",
			x - 24, y - 4, x - 6, y - 4, line->colour);
		x -= 36;
	}
}

static void
draw_line(Plot *plot, const Line *line, int top, int height, double low, double high)
{
	StringInfo out = &plot->out;
	const double scale = height / (high - low);

#define Y(value) (top + height - ((value) -low) * scale)
	if (line->range)
	{
		appendStringInfo(out, "<polygon fill=\"%s\" fill-opacity=\"0.16\" points=\"", line->colour);
		for (int i = 0; i < line->count; i++)
			appendStringInfo(out, "%.1f,%.1f ", x_of(plot, line->points[i].step),
							 Y(line->points[i].high));
		for (int i = line->count - 1; i >= 0; i--)
			appendStringInfo(out, "%.1f,%.1f ", x_of(plot, line->points[i].step),
							 Y(line->points[i].low));
		appendStringInfoString(out, "\"/>\n");
	}
	appendStringInfo(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" points=\"",
					 line->colour);
	for (int i = 0; i < line->count; i++)
		if (isfinite(line->points[i].value))
			appendStringInfo(out, "%.1f,%.1f ", x_of(plot, line->points[i].step),
							 Y(line->points[i].value));
	appendStringInfoString(out, "\"/>\n");
	for (int i = 0; i < line->count && (line->marks || line->count == 1); i++)
	{
		const Point *point = &line->points[i];
		double x = x_of(plot, point->step);

		appendStringInfo(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>", x,
						 Y(point->value), line->colour);
		put_text(out, line->name);
		appendStringInfo(out, " %.4f at step %.0f</title></circle>\n", point->value, point->step);
		if (point->best)
		{
			bool right = x > WIDTH - RIGHT - 110;

			appendStringInfo(
				out,
				"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>"
				"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">best: %.4f</text>\n",
				x, Y(point->value), line->colour, right ? x - 12 : x + 12,
				Y(point->value) + (Y(point->value) > top + height - 24 ? -10 : 18),
				right ? "end" : "start", point->value);
		}
	}
#undef Y
}

static void
draw_panel(Plot *plot, const Panel *panel, bool last, bool epoch_labels)
{
	StringInfo out = &plot->out;
	int top = plot->top + GAP;
	double low = INFINITY;
	double high = -INFINITY;
	double distance;

	for (int l = 0; l < panel->count; l++)
		for (int i = 0; i < panel->lines[l].count; i++)
		{
			const Point *point = &panel->lines[l].points[i];

			if (!isfinite(point->low) || !isfinite(point->high))
				continue;
			low = Min(low, point->low);
			high = Max(high, point->high);
		}
	if (!isfinite(low))
		low = 0, high = 1;
	if (panel->from_zero)
		low = Min(low, 0);
	if (high - low < 1e-9 * Max(fabs(high), 1e-30))
	{
		low -= Max(fabs(low) * 0.05, 1e-6);
		high += Max(fabs(high) * 0.05, 1e-6);
	}
	distance = tick_distance(high - low, Max(panel->height / 44, 2));
	low = floor(low / distance + 1e-9) * distance;
	high = ceil(high / distance - 1e-9) * distance;

	appendStringInfo(out, "<text x=\"%d\" y=\"%d\" class=\"title\">%s</text>\n", LEFT, top - 12,
					 panel->title);
	draw_legend(plot, panel, top - 12);
	for (double value = low; value <= high + distance / 2; value += distance)
	{
		double y = top + panel->height - (value - low) / (high - low) * panel->height;

		appendStringInfo(out,
						 "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/>"
						 "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
						 LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, number_label(value, distance));
	}
	draw_epochs(plot, top, panel->height, epoch_labels);
	appendStringInfo(out, "<path d=\"M%d,%d V%d H%d\" class=\"axis\"/>\n", LEFT, top,
					 top + panel->height, WIDTH - RIGHT);
	for (int l = panel->count - 1; l >= 0; l--)
		draw_line(plot, &panel->lines[l], top, panel->height, low, high);
	if (last)
		draw_steps(plot, top + panel->height);
	plot->top = top + panel->height;
}

static Line
make_line(const char *name, const char *colour)
{
	Line line = {.colour = colour};

	strlcpy(line.name, name, NAME_MAX_BYTES);
	return line;
}

DS_FUNCTION(ds_sql_plot_run);
Datum
ds_sql_plot_run(PG_FUNCTION_ARGS)
{
	int32 run = PG_GETARG_INT32(0);
	MemoryContext caller = CurrentMemoryContext;
	Panel *panels[4];
	int count = 0;
	int height = 40;
	Plot plot;
	char *title;
	int64 steps;
	text *result;

	SPI_connect();
	memset(&plot, 0, sizeof(plot));
	for (int i = 0; i < 4; i++)
		panels[i] = palloc0(sizeof(Panel));
	title = read_run(run);
	panels[0]->title = "Loss";
	panels[0]->height = 230;
	panels[0]->count = 1;
	panels[0]->lines[0] = make_line("loss", "#1f6fb2");
	panels[1]->title = "Evaluation";
	panels[1]->height = 180;
	panels[2]->title = "Learning rate";
	panels[2]->height = 90;
	panels[2]->from_zero = true;
	panels[2]->count = 1;
	panels[2]->lines[0] = make_line("learning rate", "#a4243b");
	panels[3]->title = "Gradient norm";
	panels[3]->height = 90;
	panels[3]->from_zero = true;
	panels[3]->count = 1;
	panels[3]->lines[0] = make_line("before clipping", "#6a3fa0");
	steps =
		read_steps(&plot, run, &panels[0]->lines[0], &panels[2]->lines[0], &panels[3]->lines[0]);
	if (steps > 1)
		strlcpy(panels[0]->lines[0].name,
				psprintf("mean and range of " INT64_FORMAT " steps", steps), NAME_MAX_BYTES);
	read_metrics(&plot, run, panels[1]);
	read_epochs(&plot, run);
	for (int i = 0; i < 4; i++)
		if (i != 1 || panels[1]->count > 0)
		{
			panels[count++] = panels[i];
			height += GAP + panels[i]->height;
		}
	height += 50;

	initStringInfo(&plot.out);
	appendStringInfo(&plot.out,
					 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
					 "viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
					 WIDTH, height, WIDTH, height);
	put_text(&plot.out, title);
	appendStringInfo(&plot.out,
					 "</title>\n<style>"
					 "text{font:12px system-ui,sans-serif;fill:#333}"
					 ".head{font-size:16px;font-weight:600;fill:#111}"
					 ".title{font-size:13px;font-weight:600}"
					 ".small{font-size:10px;fill:#777}"
					 ".grid{stroke:#e4e4e4}"
					 ".epoch{stroke:#bbb;stroke-dasharray:3 4}"
					 ".axis{stroke:#666;fill:none}"
					 "</style>\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
					 "<text x=\"%d\" y=\"28\" class=\"head\">",
					 WIDTH, height, LEFT);
	put_text(&plot.out, title);
	appendStringInfoString(&plot.out, "</text>\n");
	plot.top = 36;
	if (panels[0]->lines[0].count == 0)
		appendStringInfo(
			&plot.out, "<text x=\"%d\" y=\"60\">no step has been written down yet</text>\n", LEFT);
	else
		for (int i = 0; i < count; i++)
			draw_panel(&plot, panels[i], i + 1 == count, i == 0);
	appendStringInfoString(&plot.out, "</svg>\n");
	MemoryContextSwitchTo(caller);
	result = cstring_to_text_with_len(plot.out.data, plot.out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(result);
}
