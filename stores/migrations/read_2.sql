-- read_2.sql: the tables that schema version 3 changed, shown in version 3's shape from version 2; 003 stores them.
CREATE TEMP VIEW runs AS SELECT *, MAP {}::MAP(VARCHAR, VARCHAR) AS pairings FROM lake.runs;
CREATE TEMP VIEW calls AS
WITH recipes AS (SELECT run_id, any_value(recipe) AS recipe FROM lake.runs GROUP BY run_id),
roles AS (
  SELECT run_id, asker, recipe->'stages'->asker->>'model' AS role
  FROM recipes, (VALUES ('evolve'), ('sample'), ('judge'), ('search')) AS stages(asker)
)
SELECT c.* EXCLUDE (response_id), role, CASE WHEN response_id IS NULL THEN [] ELSE [response_id] END AS response_ids
FROM lake.calls AS c
-- A refinement's votes belong to stage search but are asked of the judge's model.
LEFT JOIN roles ON roles.run_id = c.run_id AND asker = CASE WHEN c.template = 'judge' THEN 'judge' ELSE c.stage END;
CREATE TEMP VIEW responses AS
SELECT *, CASE WHEN kind = 'sampled' THEN 'sample' WHEN kind IN ('refined', 'resampled') THEN 'search' END AS stage,
  NULL::VARCHAR AS logprobs
FROM lake.responses;
CREATE TEMP VIEW judgements AS
SELECT * EXCLUDE (score), judge AS kind, score AS points,
  CASE verdict WHEN 'yes' THEN 1.0::DOUBLE WHEN 'no' THEN coalesce(score / 2, 0.0) END AS value,
  NULL::DOUBLE AS pass_points, NULL::MAP(VARCHAR, DOUBLE) AS probabilities
FROM lake.judgements;
CREATE TEMP VIEW comparisons AS
SELECT '' AS comparison_id, '' AS run_id, '' AS prompt_id, '' AS stage, '' AS first_response_id, '' AS second_response_id,
  NULL::DOUBLE AS probability, []::VARCHAR[] AS votes, []::VARCHAR[] AS rationales, '' AS model_id, '' AS template_hash,
  '' AS call_id
WHERE false;
CREATE TEMP VIEW trees AS SELECT *, 'search' AS stage FROM lake.trees;
CREATE TEMP VIEW training_sets AS SELECT *, NULL::VARCHAR AS views FROM lake.training_sets;
CREATE TEMP VIEW pairs AS
SELECT * REPLACE (
  CASE source WHEN 'tree' THEN 'refined_over_failed' WHEN 'sampling' THEN 'passing_over_failing' ELSE source END AS source)
FROM lake.pairs;
