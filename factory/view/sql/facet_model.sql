-- facet_model.sql: filtered trees by the model that refined, which is the same for all trees of a run's stage. {trees}: the
-- filtered trees. Out: value, trees.
SELECT name AS value, sum(trees)::BIGINT AS trees
FROM (SELECT run_id, stage, count(*) AS trees FROM ({trees}) GROUP BY run_id, stage)
JOIN (
  SELECT DISTINCT run_id, stage, model_id FROM responses WHERE kind IN ('refined', 'resampled')
) USING (run_id, stage)
JOIN models USING (model_id)
GROUP BY ALL
ORDER BY trees DESC, value
LIMIT 30;
