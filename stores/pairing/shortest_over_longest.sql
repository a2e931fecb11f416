-- shortest_over_longest.sql: of a prompt's best answers the shortest, over the longest of its worst (Meta-Rewarding, arXiv:2407.19594).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run),
--      $judge VARCHAR = NULL: a judge or comparing stage to rank by; NULL: the deciding judge, else all comparing stages,
--      $width DOUBLE = 0.1: the width of each tier, as a share (below one half) of the range from the worst answer to the best;
--      0: only the best and only the worst.
-- Out: one row per prompt whose answers differ in rank: the shortest answer without a flaw within $width of the best, over the
-- longest within $width of the worst, by characters; ties by rank, then by smallest response_id.
WITH ranked AS (
  SELECT a.*, text, max(rank) FILTER (a.flaw IS NULL) OVER of_prompt AS best, min(rank) OVER of_prompt AS worst
  FROM ranked_answers([$run_id], $prompt_ids, $judge) AS a
  JOIN (SELECT response_id, text FROM responses) USING (response_id)
  WINDOW of_prompt AS (PARTITION BY prompt_id)
),
top AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM ranked
  WHERE flaw IS NULL AND rank >= best - $width * (best - worst) - 1e-9  -- rounding of means
  ORDER BY prompt_id, length(text), rank DESC, response_id
),
bottom AS (
  SELECT DISTINCT ON (prompt_id) *
  FROM ranked
  WHERE rank <= worst + $width * (best - worst) + 1e-9
  ORDER BY prompt_id, length(text) DESC, rank, response_id
)
SELECT prompt_id, top.response_id AS chosen_response_id, bottom.response_id AS rejected_response_id,
  top.value AS chosen_value, bottom.value AS rejected_value
FROM top
JOIN bottom USING (prompt_id)
WHERE top.rank > bottom.rank AND top.text <> bottom.text
ORDER BY prompt_id;
