/*
 * forms.h
 *		Unicode properties and normalization forms, over libutf8proc.
 *
 * The n-gram tokenizer has tables of its own (unicode.h), which its models
 * depend on; the pretrained tokenizers need the whole standard, as the
 * library of the system knows it.
 */
#ifndef DS_FORMS_H
#define DS_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General categories as bits: 1 << DS_CATEGORY_x; the order is utf8proc's */
#define DS_CATEGORY(x) (UINT32_C(1) << (x))
enum
{
	DS_CN,
	DS_LU,
	DS_LL,
	DS_LT,
	DS_LM,
	DS_LO,
	DS_MN,
	DS_MC,
	DS_ME,
	DS_ND,
	DS_NL,
	DS_NO,
	DS_PC,
	DS_PD,
	DS_PS,
	DS_PE,
	DS_PI,
	DS_PF,
	DS_PO,
	DS_SM,
	DS_SC,
	DS_SK,
	DS_SO,
	DS_ZS,
	DS_ZL,
	DS_ZP,
	DS_CC,
	DS_CF,
	DS_CS,
	DS_CO,
	DS_CATEGORIES
};
#define DS_LETTER UINT32_C(0x3E)
#define DS_MARK (DS_CATEGORY(DS_MN) | DS_CATEGORY(DS_MC) | DS_CATEGORY(DS_ME))
#define DS_NUMBER (DS_CATEGORY(DS_ND) | DS_CATEGORY(DS_NL) | DS_CATEGORY(DS_NO))
#define DS_PUNCTUATION UINT32_C(0x7F000)
#define DS_SYMBOL UINT32_C(0x780000)
#define DS_SEPARATOR (DS_CATEGORY(DS_ZS) | DS_CATEGORY(DS_ZL) | DS_CATEGORY(DS_ZP))
#define DS_OTHER                                                                         \
	(DS_CATEGORY(DS_CN) | DS_CATEGORY(DS_CC) | DS_CATEGORY(DS_CF) | DS_CATEGORY(DS_CS) | \
	 DS_CATEGORY(DS_CO))

/* the category's bit */
extern uint32_t ds_category(uint32_t c);

/* White_Space */
static inline bool
ds_is_space(uint32_t c)
{
	if (c < 0x80)
		return c == ' ' || (c >= 9 && c <= 13);
	return c == 0x85 || c == 0xA0 ||
		   (c >= 0x1680 && (c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
							c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000));
}

/* what \w means: Alphabetic, marks, decimal digits, connectors, joiners */
extern bool ds_is_word(uint32_t c);

/* ASCII punctuation (signs too), and the categories P* of the rest */
static inline bool
ds_is_punctuation(uint32_t c)
{
	if (c < 0x80)
		return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
			   (c >= 123 && c <= 126);
	return (ds_category(c) & DS_PUNCTUATION) != 0;
}

/* Chinese characters as BERT sees them */
extern bool ds_is_chinese(uint32_t c);

/* full lowercase mapping, without context: 1 or 2 characters */
extern size_t ds_lowercase(uint32_t c, uint32_t out[2]);

/* canonical or compatibility decomposition of one character; returns how many, at most DS_DECOMPOSED_MAX */
#define DS_DECOMPOSED_MAX 24
extern size_t ds_decompose(uint32_t c, bool compatibility, uint32_t out[DS_DECOMPOSED_MAX]);

extern uint8_t ds_combining_class(uint32_t c);

/* the primary composite of two characters, 0 when there is none */
extern uint32_t ds_compose(uint32_t first, uint32_t second);

/* whether a grapheme cluster ends between two characters that follow one another; *state is 0 at
 * the beginning */
extern bool ds_grapheme_break(uint32_t first, uint32_t second, int32_t *state);

#endif /* DS_FORMS_H */
