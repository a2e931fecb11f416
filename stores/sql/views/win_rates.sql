-- win_rates.sql: the probability that a response beats its prompt's others (SPPO, arXiv:2405.00675, 4).
-- Out: one row per run, stage and compared response. win_rate: the mean over all it was compared with and itself, which
-- counts one half; compared: how many, without itself. Unreadable comparisons are left out.
CREATE TEMP VIEW win_rates AS
SELECT run_id, prompt_id, stage, response_id, (sum(probability) + 0.5) / (count(*) + 1) AS win_rate, count(*) AS compared
FROM (
  SELECT run_id, prompt_id, stage, response_id, probability FROM preferences
  UNION ALL
  SELECT run_id, prompt_id, stage, other_response_id, 1 - probability FROM preferences
)
WHERE probability IS NOT NULL
GROUP BY ALL;
