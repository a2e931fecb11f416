-- near_ids.sql: ids that begin like one that is not there. In: $id. Out: at most 5 ids, those with the longest common
-- beginning first. A template: {table} and {column} are this project's own names.
SELECT {column} AS id
FROM {table}
WHERE starts_with({column}, substr($id, 1, 3))
ORDER BY starts_with({column}, substr($id, 1, 8)) DESC, starts_with({column}, substr($id, 1, 5)) DESC, {column}
LIMIT 5;
