-- facet_flaw.sql: filtered trees by flaws of their nodes. {chosen}: whether a node is of a filtered tree. Out: value, trees.
SELECT flaw AS value, count(DISTINCT tree_id) AS trees
FROM nodes
WHERE flaw IS NOT NULL AND {chosen}
GROUP BY ALL
ORDER BY trees DESC, value
LIMIT 30;
