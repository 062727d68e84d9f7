/*
 * unicode.h
 *		What this room knows about characters: case folding and classes.
 */
#ifndef DS_UNICODE_H
#define DS_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* How the tokenizers see a character; the values are those in unicode_tables.c */
typedef enum DsCharClass
{
	DS_CHAR_SEPARATOR = 0, /* white space, punctuation, signs */
	DS_CHAR_WORD = 1, /* letters and digits of scripts that put spaces between words */
	DS_CHAR_SPACELESS = 2, /* Chinese, Japanese, Korean, Thai ... */
	DS_CHAR_SYMBOL = 3, /* emoji and other pictures: a word of their own each */
	DS_CHAR_MARK = 4, /* combining: belongs to the character before it */
	DS_CHAR_IGNORED = 5 /* joiners, variation selectors, skin tones */
} DsCharClass;

typedef struct DsFoldRange
{
	uint32_t first;
	uint32_t last;
	uint32_t stride;
	int32_t delta;
} DsFoldRange;

extern const DsFoldRange ds_fold_ranges[];
extern const size_t ds_fold_range_count;
extern const uint32_t ds_class_ranges[];
extern const size_t ds_class_range_count;

/* simple case folding of any code point */
extern uint32_t ds_fold_case(uint32_t c);

extern DsCharClass ds_char_class(uint32_t c);

/* fullwidth and halfwidth forms to the ordinary ones (but voiced katakana) */
extern uint32_t ds_fold_width(uint32_t c);

/* the halfwidth katakana c with the voiced (U+FF9E) or semi-voiced (U+FF9F) mark, or 0 */
extern uint32_t ds_join_voiced(uint32_t c, uint32_t mark);

#endif /* DS_UNICODE_H */
