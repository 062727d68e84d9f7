/*
 * unicode.c
 *		Look-ups in the tables of unicode_tables.c.
 *
 * Binary searches over a few hundred ranges; what real texts are full of
 * (ASCII, Chinese characters, kana) is answered before.
 */
#include "text/unicode.h"

uint32_t
ds_fold_case(uint32_t c)
{
	size_t low = 0;
	size_t high = ds_fold_range_count;

	if (c < 0x80)
		return c - 'A' < 26 ? c + 32 : c;
	if (c >= 0x2E80 && c < 0xA640)
		return c; /* the scripts of East Asia have no case */
	while (low < high)
	{
		size_t middle = (low + high) / 2;

		if (ds_fold_ranges[middle].last < c)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < ds_fold_range_count)
	{
		const DsFoldRange *range = &ds_fold_ranges[low];

		if (c >= range->first && (c - range->first) % range->stride == 0)
			return (uint32_t) ((int32_t) c + range->delta);
	}
	return c;
}

DsCharClass
ds_char_class(uint32_t c)
{
	size_t low = 0;
	size_t high = ds_class_range_count;

	if (c < 0x80)
		return (c - '0' < 10 || (c | 32) - 'a' < 26) ? DS_CHAR_WORD : DS_CHAR_SEPARATOR;
	if (c >= 0x4E00 && c <= 0x9FFF)
		return DS_CHAR_SPACELESS;
	/* the last range that begins at or before c; the first one begins at 0 */
	while (high - low > 1)
	{
		size_t middle = (low + high) / 2;

		if (ds_class_ranges[middle] >> 3 <= c)
			low = middle;
		else
			high = middle;
	}
	return (DsCharClass) (ds_class_ranges[low] & 7);
}

/* U+FF61 to U+FF9F */
static const uint16_t halfwidth_katakana[] = {
	0x3002, 0x300C, 0x300D, 0x3001, 0x30FB, 0x30F2, 0x30A1, 0x30A3, 0x30A5, 0x30A7, 0x30A9,
	0x30E3, 0x30E5, 0x30E7, 0x30C3, 0x30FC, 0x30A2, 0x30A4, 0x30A6, 0x30A8, 0x30AA, 0x30AB,
	0x30AD, 0x30AF, 0x30B1, 0x30B3, 0x30B5, 0x30B7, 0x30B9, 0x30BB, 0x30BD, 0x30BF, 0x30C1,
	0x30C4, 0x30C6, 0x30C8, 0x30CA, 0x30CB, 0x30CC, 0x30CD, 0x30CE, 0x30CF, 0x30D2, 0x30D5,
	0x30D8, 0x30DB, 0x30DE, 0x30DF, 0x30E0, 0x30E1, 0x30E2, 0x30E4, 0x30E6, 0x30E8, 0x30E9,
	0x30EA, 0x30EB, 0x30EC, 0x30ED, 0x30EF, 0x30F3, 0x3099, 0x309A};

/* U+FFE0 to U+FFEE */
static const uint16_t signs[] = {0x00A2, 0x00A3, 0x00AC, 0x00AF, 0x00A6, 0x00A5, 0x20A9, 0xFFE7,
								 0x2502, 0x2190, 0x2191, 0x2192, 0x2193, 0x25A0, 0x25CB};

uint32_t
ds_fold_width(uint32_t c)
{
	if (c == 0x3000)
		return ' ';
	if (c < 0xFF01 || c > 0xFFEE)
		return c;
	if (c <= 0xFF5E)
		return c - 0xFEE0;
	if (c <= 0xFF60)
		return c - 0xFF5F + 0x2985;
	if (c <= 0xFF9F)
		return halfwidth_katakana[c - 0xFF61];
	if (c == 0xFFA0)
		return 0x3164;
	if (c <= 0xFFBE)
		return c - 0xFFA1 + 0x3131;
	if (c >= 0xFFE0)
		return signs[c - 0xFFE0];
	/* the vowels of Hangul stand in rows of six with gaps of two */
	if (c >= 0xFFC2 && (c - 0xFFC2) % 8 < 6 && c <= 0xFFDC)
		return 0x314F + (c - 0xFFC2) / 8 * 6 + (c - 0xFFC2) % 8;
	return c;
}

uint32_t
ds_join_voiced(uint32_t c, uint32_t mark)
{
	uint32_t full = ds_fold_width(c);

	if (mark == 0xFF9E)
	{
		if (full == 0x30A6)
			return 0x30F4; /* vu */
		if (full == 0x30EF)
			return 0x30F7; /* va */
		if (full == 0x30F2)
			return 0x30FA; /* vo */
		if ((full >= 0x30AB && full <= 0x30C1 && full % 2 == 1) || full == 0x30C4 ||
			full == 0x30C6 || full == 0x30C8)
			return full + 1; /* ga to do */
	}
	if (full >= 0x30CF && full <= 0x30DB && full % 3 == 0)
		return mark == 0xFF9E ? full + 1 : full + 2; /* ba to bo, pa to po */
	return 0;
}
