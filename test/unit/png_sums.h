/*
 * png_sums.h
 *		The checksums of a PNG's chunks put right, so that damage comes as far as what
 *		lies behind them.
 */
#ifndef DS_PNG_SUMS_H
#define DS_PNG_SUMS_H

#include <stddef.h>
#include <stdint.h>

static inline void
png_sums(uint8_t *bytes, size_t size)
{
	size_t at = 8;

	while (size >= 12 && at <= size - 12)
	{
		size_t length = (size_t) bytes[at] << 24 | (size_t) bytes[at + 1] << 16 |
						(size_t) bytes[at + 2] << 8 | bytes[at + 3];
		uint32_t sum = 0xffffffff;

		if (length > size - at - 12)
			return;
		for (size_t i = at + 4; i < at + 8 + length; i++)
		{
			sum ^= bytes[i];
			for (int bit = 0; bit < 8; bit++)
				sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
		}
		sum = ~sum;
		at += 8 + length;
		for (int i = 0; i < 4; i++)
			bytes[at + (size_t) i] = (uint8_t) (sum >> (24 - 8 * i));
		at += 4;
	}
}

#endif /* DS_PNG_SUMS_H */
