-- facet_depth.sql: filtered trees by their deepest level. {chosen}: whether a node is of a filtered tree. Out: value, trees.
SELECT depth AS value, count(*) AS trees
FROM (SELECT max(depth) AS depth FROM nodes WHERE {chosen} GROUP BY tree_id)
GROUP BY ALL
ORDER BY value
LIMIT 30;
