/*
 * metric.h
 *		The evaluation query of a training: its numbers.
 */
#ifndef DS_TRAIN_METRIC_H
#define DS_TRAIN_METRIC_H

#include "server.h"

#define DS_METRICS_MAX 16

typedef struct DsMetrics
{
	int count;
	char name[DS_METRICS_MAX][NAMEDATALEN];
	double value[DS_METRICS_MAX]; /* the first is the one that decides */
} DsMetrics;

/* Can it be what "evaluate" wants?  42601 where it is no plain SELECT, 42804 where its first column is no number. */
extern void ds_metrics_check(const char *sql);

/*
 * Run it as the current user, read-only, under a new snapshot.  The numbers
 * of its only row; other columns are left out.  21000 for another number of
 * rows, 22004 where the first is NULL, 22003 where it is not finite.
 */
extern void ds_metrics_read(const char *sql, DsMetrics *metrics);

#endif /* DS_TRAIN_METRIC_H */
