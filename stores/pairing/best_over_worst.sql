-- best_over_worst.sql: a prompt's best sampled answer over its worst (Self-Rewarding, arXiv:2401.10020).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: a judge, or a stage that compares or checks claims, to rank by; NULL: the deciding judge, else such stages,
--      $chosen_from VARCHAR = NULL, $rejected_from VARCHAR = NULL: the sampling stage of each side; NULL: any.
-- Out: one row per prompt whose best answer without a flaw and worst answer differ in rank and text; ties by smallest
-- response_id.
WITH ends AS (
  SELECT prompt_id,
    arg_min({'id': response_id, 'rank': rank, 'value': value}, {'descending': -rank, 'id': response_id})
      FILTER (flaw IS NULL AND coalesce(stage = $chosen_from, true)) AS best,
    arg_min({'id': response_id, 'rank': rank, 'value': value}, {'ascending': rank, 'id': response_id})
      FILTER (coalesce(stage = $rejected_from, true)) AS worst
  FROM ranked_answers([$run_id], $prompt_ids, $judge)
  GROUP BY prompt_id
)
SELECT ends.prompt_id, best.id AS chosen_response_id, worst.id AS rejected_response_id,
  best.value AS chosen_value, worst.value AS rejected_value
FROM ends
JOIN responses AS chosen ON chosen.response_id = best.id
JOIN responses AS rejected ON rejected.response_id = worst.id
WHERE best.rank > worst.rank AND chosen.text <> rejected.text
ORDER BY ends.prompt_id;
