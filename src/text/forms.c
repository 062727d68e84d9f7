/*
 * forms.c
 *		Unicode properties and normalization forms; the only file that knows
 *		libutf8proc.
 *
 * Of the library only functions of single characters are used: they allocate
 * nothing and take constant time.  Its functions of whole strings sort
 * combining marks in quadratic time.
 */
#include "text/forms.h"

#include <utf8proc.h>

uint32_t
ds_category(uint32_t c)
{
	/* utf8proc answers DS_CN for what is no code point */
	return DS_CATEGORY((uint32_t) utf8proc_category((utf8proc_int32_t) c));
}

bool
ds_is_word(uint32_t c)
{
	if (c < 0x80)
		return c - '0' < 10 || (c | 32) - 'a' < 26 || c == '_';
	if (ds_category(c) &
		(DS_LETTER | DS_MARK | DS_CATEGORY(DS_ND) | DS_CATEGORY(DS_NL) | DS_CATEGORY(DS_PC)))
		return true;
	/* Other_Alphabetic outside the marks, and the joiners */
	return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
		   (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
		   c == 0x200D;
}

bool
ds_is_chinese(uint32_t c)
{
	/* the gap from 2B81F to 2B920 is that of the original */
	return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
		   (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
		   (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
		   (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

size_t
ds_lowercase(uint32_t c, uint32_t out[2])
{
	if (c < 0x80)
	{
		out[0] = c - 'A' < 26 ? c + 32 : c;
		return 1;
	}
	if (c == 0x130)
	{
		/* the only one that becomes two */
		out[0] = 'i';
		out[1] = 0x307;
		return 2;
	}
	out[0] = (uint32_t) utf8proc_tolower((utf8proc_int32_t) c);
	return 1;
}

size_t
ds_decompose(uint32_t c, bool compatibility, uint32_t out[DS_DECOMPOSED_MAX])
{
	utf8proc_int32_t characters[DS_DECOMPOSED_MAX];
	int boundary = 0;
	utf8proc_ssize_t n;

	if (c < 0xA0)
	{
		out[0] = c;
		return 1;
	}
	n = utf8proc_decompose_char(
		(utf8proc_int32_t) c, characters, DS_DECOMPOSED_MAX,
		(utf8proc_option_t) (UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0)),
		&boundary);
	if (n < 1 || n > DS_DECOMPOSED_MAX)
	{
		out[0] = c;
		return 1;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
		out[i] = (uint32_t) characters[i];
	return (size_t) n;
}

uint8_t
ds_combining_class(uint32_t c)
{
	if (c < 0x300)
		return 0;
	return (uint8_t) utf8proc_get_property((utf8proc_int32_t) c)->combining_class;
}

uint32_t
ds_compose(uint32_t first, uint32_t second)
{
	utf8proc_int32_t pair[2] = {(utf8proc_int32_t) first, (utf8proc_int32_t) second};

	/* what can be second: marks, vowels and final consonants of Hangul, vowels of Kirat Rai */
	if (second < 0x300 ||
		!((ds_category(second) & DS_MARK) || (second >= 0x1161 && second <= 0x11C2) ||
		  (second >= 0x16D63 && second <= 0x16D6A)))
		return 0;
	if (utf8proc_normalize_utf32(pair, 2,
								 (utf8proc_option_t) (UTF8PROC_COMPOSE | UTF8PROC_STABLE)) != 1)
		return 0;
	return (uint32_t) pair[0];
}

bool
ds_grapheme_break(uint32_t first, uint32_t second, int32_t *state)
{
	return utf8proc_grapheme_break_stateful((utf8proc_int32_t) first, (utf8proc_int32_t) second,
											state);
}
