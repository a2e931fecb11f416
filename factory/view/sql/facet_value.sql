-- facet_value.sql: filtered trees by the highest value of their refinements, in tenths; 1.0 is in the last. {chosen}: whether
-- a node is of a filtered tree. Out: value (0 to 9), trees.
SELECT least(floor(value * 10), 9)::BIGINT AS value, count(*) AS trees
FROM (SELECT max(value) AS value FROM nodes WHERE depth > 0 AND {chosen} GROUP BY tree_id)
WHERE value BETWEEN 0 AND 1
GROUP BY ALL
ORDER BY value;
