/*
 * test_json.c
 *		The JSON reader: what it takes, what it refuses, walking.
 */
#include "unit.h"

#include "base/json.h"

static DsStatus status;

static int
parses(const char *text, size_t length, DsJson *root)
{
	/* a copy of exactly this size, so that the sanitizer sees a byte too far */
	static char *copy = NULL;

	free(copy);
	copy = malloc(length + !length);
	memcpy(copy, text, length);
	return ds_json_parse(copy, length, "test.json", root, &status) == DS_OK;
}

static void
test_syntax(void)
{
	static const char *const good[] = {
		"null",
		" true ",
		"false",
		"0",
		"-0.5e+10",
		"123",
		"\"\"",
		"[]",
		"{}",
		"[1,2 , 3]",
		"{\"a\":[{}, [] ,\"\\u00e9\\ud83d\\ude00\"] , \"b\" : null}",
		"\t\r\n[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]\n",
		"\"夏é😀\x7f\"",
	};
	static const char *const refused[] = {
		"",
		" ",
		"nul",
		"True",
		"01",
		"-",
		"+1",
		".5",
		"1.",
		"1e",
		"1e+",
		"0x10",
		"NaN",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[",
		"[1",
		"[1}",
		"{",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{1:1}",
		"{\"a\" 1}",
		"{\"a\":1]",
		"\"",
		"\"a",
		"\"\\",
		"\"\\x41\"",
		"\"\\u12\"",
		"\"\\u12G4\"",
		"\"\\ud83d\"",
		"\"\\ud83d\\u0041\"",
		"\"\\ude00\"",
		"\"\n\"",
		"\"\xff\"",
		"\"\xc0\xaf\"",
		"\"\xe0\x80\xaf\"",
		"\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xe5\xa4",
		"1 1",
		"[] []",
		"// x\n1",
		"'a'",
	};
	DsJson root;
	char deep[400];
	char number[200];
	size_t bad = 0;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!parses(good[i], strlen(good[i]), &root))
		{
			printf("# refused: %s: %s\n", good[i], status.message);
			bad++;
		}
	CHECK(bad == 0, "what is JSON is taken");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (parses(refused[i], strlen(refused[i]), &root))
		{
			printf("# taken: %s\n", refused[i]);
			bad++;
		}
	CHECK(bad == 0, "what is not JSON is refused");
	CHECK(!parses("\"a\0b\"", 5, &root), "a zero byte in a string is refused");
	CHECK(!parses("{\"a\":1, \"b\":tru}", 16, &root) &&
			  strcmp(status.message, "test.json is not valid JSON: an unknown word at byte 12") ==
				  0,
		  "the message says where");

	memset(deep, '[', DS_JSON_DEPTH);
	memset(deep + DS_JSON_DEPTH, ']', DS_JSON_DEPTH);
	CHECK(parses(deep, (size_t) 2 * DS_JSON_DEPTH, &root), "%d levels are taken", DS_JSON_DEPTH);
	memset(deep, '[', DS_JSON_DEPTH + 1);
	memset(deep + DS_JSON_DEPTH + 1, ']', DS_JSON_DEPTH + 1);
	CHECK(!parses(deep, (size_t) 2 * DS_JSON_DEPTH + 2, &root) &&
			  strstr(status.message, "nested too deep") != NULL,
		  "more are refused");
	memset(number, '1', sizeof(number));
	CHECK(!parses(number, sizeof(number), &root), "a number of 200 digits is refused");

	/* every prefix of a text is refused, without reading behind it */
	for (size_t n = 0; n < strlen(good[10]); n++)
		bad += parses(good[10], n, &root);
	CHECK(bad == 0, "a text that is cut short is refused");
}

static void
test_walk(void)
{
	static const char text[] =
		"{ \"a\" : 1 , \"s\":\"x\\n\\u0000\\u00e9\\ud83d\\ude00夏\",\"list\":[1,[2,\"]\"],{\"q\":\"}\"}],"
		"\"n\":null,\"t\":true,\"d\":-1.25e2,\"a\":7,\"\\u0061b\":3,\"big\":99999999999999999999,"
		"\"empty\":{}}";
	DsJson root;
	DsJson a;
	DsJson s;
	DsJson list;
	DsJson none;
	DsJsonWanted wanted[] = {{"a", &a}, {"s", &s}, {"list", &list}, {"none", &none}};
	char out[100];
	double d = 0;
	int64_t i = 0;
	bool b = false;
	size_t n;
	int keys = 0;
	int elements = 0;

	CHECK(parses(text, sizeof(text) - 1, &root), "an example");
	ds_json_members(root, wanted, 4);
	CHECK(ds_json_integer(a, &i) && i == 7, "of a key that is there twice the last counts");
	CHECK(ds_json_kind(none) == DS_JSON_ABSENT, "a member that is absent");
	n = ds_json_string_copy(s, out);
	CHECK(n == 12 && memcmp(out, "x\n\0é😀夏", 12) == 0 && ds_json_string_size(s) >= n,
		  "a string with escapes");
	CHECK(ds_json_string_is(s, "x") == false && ds_json_string_is(list, "x") == false,
		  "comparison with a literal");
	CHECK(ds_json_integer(ds_json_member(root, "ab"), &i) && i == 3, "a key with an escape");
	CHECK(ds_json_double(ds_json_member(root, "d"), &d) && d == -125.0, "a double");
	CHECK(!ds_json_integer(ds_json_member(root, "d"), &i), "which is no integer");
	CHECK(!ds_json_integer(ds_json_member(root, "big"), &i) &&
			  ds_json_double(ds_json_member(root, "big"), &d) && d == 1e20,
		  "an integer that is too large is a double");
	CHECK(ds_json_bool(ds_json_member(root, "t"), &b) && b, "true");
	CHECK(ds_json_kind(ds_json_member(root, "n")) == DS_JSON_NULL, "null");
	CHECK(!ds_json_bool(ds_json_member(root, "n"), &b), "which is no boolean");
	for (DsJsonItem item = ds_json_items(root); ds_json_next(&item);)
		keys++;
	CHECK(keys == 10, "all members are walked");
	for (DsJsonItem item = ds_json_items(list); ds_json_next(&item);)
	{
		static const DsJsonKind kinds[] = {DS_JSON_NUMBER, DS_JSON_ARRAY, DS_JSON_OBJECT};

		if (elements < 3 && ds_json_kind(item.value) == kinds[elements])
			elements++;
	}
	CHECK(elements == 3, "all elements are walked");
	n = 0;
	for (DsJsonItem item = ds_json_items(ds_json_member(root, "empty")); ds_json_next(&item);)
		n++;
	for (DsJsonItem item = ds_json_items(a); ds_json_next(&item);)
		n++;
	CHECK(n == 0, "nothing in an empty object, nothing in a number");
}

int
main(void)
{
	test_syntax();
	test_walk();
	return unit_done();
}
