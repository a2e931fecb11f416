-- is_blank.sql: whether a text has nothing to read: only white space and marks without width, as `is_blank` in
-- factory/inference/values.py.
CREATE TEMP MACRO is_blank(given) AS NOT regexp_matches(given, '[^\s\p{Z}\x{85}\x{1c}-\x{1f}\x{0b}\x{200b}\x{200c}\x{200d}\x{2060}\x{feff}]');
