/*
 * json.h
 *		Reading JSON that comes from outside: tokenizer.json, config.json, the
 *		header of a safetensors file.
 *
 * The server's jsonb is for server rooms; this one is for files that pure
 * rooms read.  ds_json_parse() looks at every byte once and refuses what is
 * not strict JSON (RFC 8259): bad UTF-8, lone surrogates, trailing commas,
 * numbers like 01, nesting deeper than DS_JSON_DEPTH.  No tree is built: a
 * value is a pointer into the text, objects and arrays are walked in place, so
 * reading takes no memory, however large the file is.
 *
 *     DsJson root, model;
 *     DsJsonWanted wanted[] = {{"model", &model}, ...};
 *
 *     code = ds_json_parse(bytes, length, "tokenizer.json", &root, status);
 *     ds_json_members(root, wanted, lengthof(wanted));
 *     if (ds_json_kind(model) == DS_JSON_OBJECT)
 *         for (DsJsonItem item = ds_json_items(model); ds_json_next(&item);)
 *             ... item.key, item.value ...
 *
 * The functions behind ds_json_parse() rely on what it has checked: never give
 * them a value of a text that it has refused.
 */
#ifndef DS_JSON_H
#define DS_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* objects and arrays inside each other; recursion takes as many frames */
#define DS_JSON_DEPTH 64
/* characters of a number; a double never needs more than 25 */
#define DS_JSON_NUMBER_LENGTH 128

typedef enum DsJsonKind
{
	DS_JSON_ABSENT = 0, /* no such member */
	DS_JSON_NULL,
	DS_JSON_BOOL,
	DS_JSON_NUMBER,
	DS_JSON_STRING,
	DS_JSON_ARRAY,
	DS_JSON_OBJECT
} DsJsonKind;

/* A value: its first byte, and where the text ends.  All zero: absent. */
typedef struct DsJson
{
	const char *at;
	const char *end;
} DsJson;

/*
 * DS_BAD_DATA with "what" and the byte offset in the message.  The text must
 * stay as it is while values are used; it need not end with a zero byte.
 */
extern DsCode ds_json_parse(const char *text, size_t length, const char *what, DsJson *root,
							DsStatus *status);

extern DsJsonKind ds_json_kind(DsJson value);

/* The members or elements of an object or array, one after the other; of anything else, none */
typedef struct DsJsonItem
{
	DsJson key; /* a string; absent in an array */
	DsJson value;
	/* private */
	const char *next;
} DsJsonItem;

extern DsJsonItem ds_json_items(DsJson container);
extern bool ds_json_next(DsJsonItem *item);

/*
 * Several members in one pass.  Absent ones are set to absent; of a key that
 * is there twice the last counts.
 */
typedef struct DsJsonWanted
{
	const char *key;
	DsJson *value;
} DsJsonWanted;

extern void ds_json_members(DsJson object, const DsJsonWanted *wanted, size_t count);
/* one */
extern DsJson ds_json_member(DsJson object, const char *key);

/*
 * A string.  _size is an upper bound of its bytes in UTF-8; _copy writes them
 * (no zero byte at the end; there may be some within) and returns their
 * number; _is compares with an ASCII literal.
 */
extern size_t ds_json_string_size(DsJson string);
extern size_t ds_json_string_copy(DsJson string, char *out);
extern bool ds_json_string_is(DsJson string, const char *literal);

/* false when the value is of another kind, or no integer, or out of range */
extern bool ds_json_bool(DsJson value, bool *result);
extern bool ds_json_double(DsJson value, double *result);
extern bool ds_json_integer(DsJson value, int64_t *result);

/* where the value ends */
extern const char *ds_json_skip(DsJson value);

#endif /* DS_JSON_H */
