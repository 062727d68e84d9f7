-- Every object of the extension says what it is.
SELECT plan(3);

CREATE TEMP TABLE objects AS
SELECT classid, objid, pg_describe_object(classid, objid, 0) AS object, obj_description(objid, classid::regclass::name) AS comment
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'deepsearch')
	-- made by the server beside what they belong to: array and row types, default families
	AND classid <> 'pg_opfamily'::regclass
	AND NOT (classid = 'pg_type'::regclass AND objid IN (SELECT oid FROM pg_type WHERE typelem <> 0 OR typrelid <> 0));

SELECT cmp_ok(count(*), '>', 100::bigint, 'objects are found') FROM objects;
SELECT is(string_agg(object, ', ' ORDER BY object), NULL, 'every object has a comment') FROM objects
WHERE comment IS NULL;
SELECT is(string_agg(object, ', ' ORDER BY object), NULL, 'public functions and relations begin with ds_')
FROM objects JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass AND c.relkind <> 'i'
WHERE c.relname NOT LIKE 'ds\_%';

SELECT * FROM finish();
