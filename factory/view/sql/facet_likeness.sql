-- facet_likeness.sql: filtered trees by the likeness of the two sides of their pair, in tenths; 1.0 is in the last. {chosen}:
-- whether a pair is of a filtered tree. Out: value (0 to 9), trees.
SELECT least(floor(similarity * 10), 9)::BIGINT AS value, count(DISTINCT tree_id) AS trees
FROM pairs
WHERE tree_id IS NOT NULL AND similarity BETWEEN 0 AND 1 AND {chosen}
GROUP BY ALL
ORDER BY value;
