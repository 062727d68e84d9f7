/*
 * spec_fields.h
 *		What the descriptions of networks share: tables of their fields, the
 *		modules behind a network, their JSON; for encoder_spec.c and image_spec.c.
 *
 * One table lists the fields of a struct with their limits; checking, writing
 * and reading go through it, so that a field cannot be forgotten in one of
 * them.
 */
#ifndef DS_SPEC_FIELDS_H
#define DS_SPEC_FIELDS_H

#include "nn/encoder_spec.h"

typedef enum DsFieldKind
{
	DS_FIELD_NUMBER,
	DS_FIELD_FLAG,
	DS_FIELD_REAL, /* finite, not negative */
	DS_FIELD_ID, /* a token id; DS_SPEC_NO_ID stands for none */
	DS_FIELD_WORD, /* a number, written as a word */
	DS_FIELD_SET /* bits, written as an array of words */
} DsFieldKind;

typedef struct DsField
{
	const char *name;
	size_t offset;
	DsFieldKind kind;
	uint32_t most; /* the limit, of numbers */
	const char *const *words; /* WORD: by number, may begin with a hole; SET: by bit */
} DsField;

#define DS_FIELD(type, name, kind, most)                         \
	{                                                            \
#name, offsetof(type, name), DS_FIELD_##kind, most, NULL \
	}
#define DS_WORD_FIELD(type, name, words)                                                          \
	{                                                                                             \
#name, offsetof(type, name), DS_FIELD_WORD, sizeof(words) / sizeof((words)[0]) - 1, words \
	}
#define DS_SET_FIELD(type, name, words)                                                            \
	{                                                                                              \
#name, offsetof(type, name), DS_FIELD_SET, (1u << sizeof(words) / sizeof((words)[0])) - 1, \
			words                                                                                  \
	}

extern const char *const ds_activation_words[DS_ACTIVATIONS];

/* Limits that hold for one field alone; what ("encoder") begins the message */
extern DsCode ds_fields_check(const void *base, const DsField *list, size_t count, const char *what,
							  DsStatus *status);

/* What is written; out may be NULL if size is 0 */
typedef struct DsSpecWriter
{
	char *out;
	size_t size;
	size_t length; /* that it would have */
	bool first; /* no member of this object yet */
} DsSpecWriter;

extern void ds_spec_put(DsSpecWriter *writer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
extern void ds_spec_put_key(DsSpecWriter *writer, const char *name);
/* members, without those that are zero */
extern void ds_spec_put_fields(DsSpecWriter *writer, const void *base, const DsField *list,
							   size_t count);

/* The number of a word in a list, which may begin with a hole; -1: none */
extern int ds_spec_word(DsJson value, const char *const *list, size_t count);
/* DS_INVALID: why, and the key as it stands */
extern DsCode ds_spec_refuse_key(DsJson key, const char *what, const char *why, DsStatus *status);
extern DsCode ds_spec_read_member(void *base, const DsField *list, size_t count, DsJsonItem item,
								  const char *what, DsStatus *status);
/* "version" and "family", which every description has; *known says whether it was one of them */
extern DsCode ds_spec_read_common(DsJsonItem item, int64_t *version, char *family, size_t size,
								  const char *what, bool *known, DsStatus *status);
extern DsCode ds_spec_check_family(const char *family, size_t size, const char *what,
								   DsStatus *status);

/* Modules behind what has dims components */
extern DsCode ds_spec_check_modules(const DsSpecModule *modules, uint32_t count, size_t dims,
									const char *what, DsStatus *status);
extern void ds_spec_put_modules(DsSpecWriter *writer, const DsSpecModule *modules, uint32_t count);
extern DsCode ds_spec_read_modules(DsJson array, DsSpecModule *modules, uint32_t *count,
								   const char *what, DsStatus *status);

#endif /* DS_SPEC_FIELDS_H */
