-- loop_rounds.sql: a loop's rounds side by side. Out: one row per loop and round: its run and what drifts, the trees that
-- were accepted, roles whose new model was kept and not kept, seconds by step, and what its runs, evaluations and online
-- trainings have paid: requests, tokens (of prompts and answers) and cost, NULL if a part of it is not known.
CREATE TEMP VIEW loop_rounds AS
WITH steps AS (
  SELECT loop_id, round, any_value(run_id) FILTER (step = 'run') AS run_id,
    list(role ORDER BY role) FILTER (step = 'keep' AND note IS NULL) AS kept,
    list(role || ': ' || note ORDER BY role) FILTER (step = 'keep' AND note IS NOT NULL) AS not_kept,
    sum(seconds) FILTER (step = 'run') AS run_s, sum(seconds) FILTER (step = 'build') AS build_s,
    sum(seconds) FILTER (step = 'train') AS train_s, sum(seconds) FILTER (starts_with(step, 'evaluate')) AS evaluate_s
  FROM loop_steps GROUP BY loop_id, round
), spent AS (
  SELECT run_id, count(*) AS requests, sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0))::BIGINT AS tokens
  FROM calls WHERE NOT from_journal AND error IS NULL GROUP BY run_id
), priced AS (
  SELECT run_id, CASE WHEN count(*) = count(cost) THEN sum(cost) END AS cost FROM run_cost GROUP BY run_id
), paid AS (
  SELECT loop_id, round, sum(requests)::BIGINT AS requests, sum(tokens)::BIGINT AS tokens,
    CASE WHEN count(*) = count(cost) THEN sum(cost) END AS cost
  FROM (SELECT DISTINCT loop_id, round, run_id FROM loop_steps)
  JOIN spent USING (run_id)
  LEFT JOIN priced USING (run_id)
  GROUP BY loop_id, round
)
SELECT loop_id, round, run_id, trees, accepted / nullif(trees, 0) AS acceptance, d.* EXCLUDE (run_id),
  kept, not_kept, run_s, build_s, train_s, evaluate_s, requests, tokens, cost
FROM steps
LEFT JOIN paid USING (loop_id, round)
LEFT JOIN drift AS d USING (run_id)
LEFT JOIN (SELECT run_id, trees, accepted FROM run_progress) USING (run_id)
ORDER BY loop_id, round;
