-- facet_round.sql: filtered trees by round of self-play. {trees}: the filtered trees. Out: value, trees.
SELECT iteration AS value, sum(trees)::BIGINT AS trees
FROM (SELECT run_id, count(*) AS trees FROM ({trees}) GROUP BY run_id)
JOIN (SELECT run_id, iteration FROM current_runs) USING (run_id)
GROUP BY ALL
ORDER BY value
LIMIT 30;
