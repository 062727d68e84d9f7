/*
 * fashion_files.h
 *		Files of the fashion data set, line by line, for benchmarks without a server.
 */
#ifndef FASHION_FILES_H
#define FASHION_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/random.h"
#include "base/status.h"

static void *
checked(void *pointer)
{
	if (pointer == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return pointer;
}

static void
check(DsCode code, const DsStatus *status)
{
	if (code != DS_OK)
	{
		fprintf(stderr, "error: %s\n", status->message);
		exit(1);
	}
}

/* What the command prints of a file; to be closed by pclose() */
static FILE *
open_data(const char *folder, const char *name, const char *command)
{
	char path[1000];
	char line[1100];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (access(path, R_OK) != 0)
	{
		fprintf(stderr, "%s is not there: this benchmark needs the fashion data set (skipped)\n",
				path);
		exit(2);
	}
	snprintf(line, sizeof(line), "%s '%s'", command, path);
	return checked(popen(line, "r"));
}

/* Cut a line at its tabs; how many fields there are */
static int
split(char *line, char **field, int most)
{
	int n = 0;

	line[strcspn(line, "\r\n")] = '\0';
	while (n < most && line != NULL)
		field[n++] = strsep(&line, "\t");
	return n;
}

static uint64_t
hash(const char *text)
{
	uint64_t h = 1;

	for (; *text != '\0'; text++)
		h = ds_mix64(h ^ (unsigned char) *text) + 1;
	return h;
}

#endif /* FASHION_FILES_H */
