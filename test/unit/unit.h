/*
 * unit.h
 *		A few lines of TAP for the unit tests of the pure rooms.
 *
 * Each test_*.c is a program: it calls CHECK and its like, and ends with
 * "return unit_done();".  One CHECK is one line of output; loops over thousands
 * of cases count their failures and CHECK once.
 */
#ifndef DS_UNIT_H
#define DS_UNIT_H

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int unit_count = 0;
static int unit_failures = 0;

__attribute__((format(printf, 4, 5), unused)) static int
unit_check(int ok, const char *file, int line, const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", ok ? "" : "not ", ++unit_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!ok)
	{
		unit_failures++;
		printf("# failed at %s:%d\n", file, line);
	}
	fflush(stdout);
	return ok;
}

/* CHECK(condition, "what holds, with %d figures", n) */
#define CHECK(condition, ...) unit_check((condition) != 0, __FILE__, __LINE__, __VA_ARGS__)

__attribute__((unused)) static int
unit_done(void)
{
	printf("1..%d\n", unit_count);
	return unit_failures > 0;
}

#endif /* DS_UNIT_H */
