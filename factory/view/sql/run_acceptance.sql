-- run_acceptance.sql: how a run's searches ended, in the order of its prompts. In: $run_id. Out: one row per part of its
-- prompts (at most 24): first position, trees, accepted.
WITH placed AS (
  SELECT position, outcome, max(position) OVER () + 1 AS positions
  FROM trees JOIN run_prompts USING (run_id, prompt_id)
  WHERE run_id = $run_id
)
SELECT min(position) AS position, count(*) AS trees, count(*) FILTER (outcome = 'accepted') AS accepted
FROM placed
GROUP BY position * least(24, positions) // positions
ORDER BY position;
