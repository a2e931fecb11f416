-- best_over_worst.sql: a prompt's best sampled answer over its worst (Self-Rewarding, arXiv:2401.10020).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: a judge, or a stage that compares or checks claims, to rank by; NULL: the deciding judge, else such stages,
--      $chosen_from VARCHAR = NULL, $rejected_from VARCHAR = NULL: the sampling stage of each side; NULL: any.
-- Out: one row per prompt whose best answer without a flaw and worst answer differ in rank and text; ties by smallest
-- response_id.
WITH ranked AS (FROM ranked_answers([$run_id], $prompt_ids, $judge)),
best AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM ranked
  WHERE flaw IS NULL AND coalesce(stage = $chosen_from, true)
  ORDER BY prompt_id, rank DESC, response_id
),
worst AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM ranked
  WHERE coalesce(stage = $rejected_from, true)
  ORDER BY prompt_id, rank, response_id
)
SELECT prompt_id, best.response_id AS chosen_response_id, worst.response_id AS rejected_response_id,
  best.value AS chosen_value, worst.value AS rejected_value
FROM best
JOIN worst USING (prompt_id)
JOIN responses AS chosen ON chosen.response_id = best.response_id
JOIN responses AS rejected ON rejected.response_id = worst.response_id
WHERE best.rank > worst.rank AND chosen.text <> rejected.text
ORDER BY prompt_id;
