-- by_kind.sql: how often a run's answers follow each kind of constraint. In: $run_id. Out: kind, constraints, strict, loose
-- (shares); one row per kind, in its order.
WITH asked AS (
  SELECT prompt_id, unnest(range(len(constraints))) AS position, unnest(constraints).id AS kind
  FROM run_prompts JOIN prompts USING (prompt_id)
  WHERE run_id = $run_id AND NOT evolved
), answered AS (
  SELECT prompt_id, response_id FROM responses WHERE run_id = $run_id AND kind = 'sampled'
)
SELECT asked.kind, count(*) AS constraints, avg(coalesce(followed, false)::DOUBLE) AS strict,
  avg(coalesce(followed_loosely, false)::DOUBLE) AS loose
FROM asked
LEFT JOIN answered USING (prompt_id)
LEFT JOIN (
  SELECT response_id, position, followed, followed_loosely FROM checks WHERE run_id = $run_id
) USING (response_id, position)
GROUP BY asked.kind
ORDER BY asked.kind;
