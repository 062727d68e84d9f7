/*
 * utf8.h
 *		Reading and writing single characters, on bytes that nobody vouches for.
 */
#ifndef DS_UTF8_H
#define DS_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define DS_UTF8_REPLACEMENT UINT32_C(0xFFFD)

/*
 * The character at p, where p < end; *length gets its bytes (1 to 4).  A byte
 * that begins no valid character (overlong forms, surrogates and numbers above
 * U+10FFFF included) gives U+FFFD and a length of 1.
 */
static inline uint32_t
ds_utf8_read(const unsigned char *p, const unsigned char *end, size_t *length)
{
	uint32_t first = p[0];
	size_t left = (size_t) (end - p);

	*length = 1;
	if (first < 0x80)
		return first;
	if (first >= 0xC2 && first < 0xE0 && left >= 2 && (p[1] & 0xC0) == 0x80)
	{
		*length = 2;
		return (first & 0x1F) << 6 | (p[1] & 0x3Fu);
	}
	if (first >= 0xE0 && first < 0xF0 && left >= 3 && (p[1] & 0xC0) == 0x80 &&
		(p[2] & 0xC0) == 0x80)
	{
		uint32_t c = (first & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);

		if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF))
		{
			*length = 3;
			return c;
		}
	}
	if (first >= 0xF0 && first < 0xF5 && left >= 4 && (p[1] & 0xC0) == 0x80 &&
		(p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80)
	{
		uint32_t c =
			(first & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);

		if (c >= 0x10000 && c <= 0x10FFFF)
		{
			*length = 4;
			return c;
		}
	}
	return DS_UTF8_REPLACEMENT;
}

/* bytes that ds_utf8_write() needs for c */
static inline size_t
ds_utf8_size(uint32_t c)
{
	return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

static inline size_t
ds_utf8_write(uint32_t c, char *out)
{
	unsigned char *p = (unsigned char *) out;

	if (c < 0x80)
	{
		p[0] = (unsigned char) c;
		return 1;
	}
	if (c < 0x800)
	{
		p[0] = (unsigned char) (0xC0 | c >> 6);
		p[1] = (unsigned char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		p[0] = (unsigned char) (0xE0 | c >> 12);
		p[1] = (unsigned char) (0x80 | (c >> 6 & 0x3F));
		p[2] = (unsigned char) (0x80 | (c & 0x3F));
		return 3;
	}
	p[0] = (unsigned char) (0xF0 | c >> 18);
	p[1] = (unsigned char) (0x80 | (c >> 12 & 0x3F));
	p[2] = (unsigned char) (0x80 | (c >> 6 & 0x3F));
	p[3] = (unsigned char) (0x80 | (c & 0x3F));
	return 4;
}

#endif /* DS_UTF8_H */
