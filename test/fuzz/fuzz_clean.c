/*
 * fuzz_clean.c
 *		Cleaning on any bytes: inside its buffer, valid UTF-8, and nothing left to do
 *		for a second time.
 *
 * The first byte chooses the options, the second how small the buffer is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/clean.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DsCleanOptions options;
	size_t capacity;
	size_t used;
	char *out;

	if (size < 2)
		return 0;
	options.fold_width = data[0] & 1;
	options.fold_case = data[0] & 2;
	options.strip_controls = data[0] & 4;
	options.collapse_space = data[0] & 8;
	options.strip_html = data[0] & 16;
	/* exactly what is promised to be enough, or less: the sanitizer watches the end */
	capacity = ds_clean_bound(size - 2);
	if (data[1] < 255 && capacity > data[1])
		capacity = data[1];
	out = malloc(capacity > 0 ? capacity : 1);
	used = ds_clean(&options, (const char *) data + 2, size - 2, out, capacity);
	if (used > capacity)
		abort();
	for (size_t at = 0; at < used;)
	{
		size_t length;
		uint32_t c =
			ds_utf8_read((unsigned char *) out + at, (unsigned char *) out + used, &length);

		if (c == DS_UTF8_REPLACEMENT && length != 3)
			abort();
		at += length;
	}
	if (options.collapse_space && used > 0 && (out[0] == ' ' || out[used - 1] == ' '))
		abort();
	if (!options.strip_html)
	{
		char *again = malloc(ds_clean_bound(used) + 1);
		size_t n = ds_clean(&options, out, used, again, ds_clean_bound(used));

		if (n != used || memcmp(out, again, n) != 0)
			abort();
		free(again);
	}
	free(out);
	return 0;
}
