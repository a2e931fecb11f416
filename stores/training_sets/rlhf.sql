-- rlhf.sql: people's preferences: of imported pairs, and of answers that reviewers compared (InstructGPT, arXiv:2203.02155, 3.5).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what reviews allow of imported pairs (view reviewed_pairs).
-- Out: preference; one row per prompt and two texts, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage. Of two
-- answers that nobody has judged (pairing two_answers), the one that all reviewers prefer is chosen, or the one that one wrote.
WITH imported AS (
  FROM reviewed_pairs($reviewed_only, $exclude_rejected)
  WHERE source IN ('imported', 'imported_scores') AND list_contains($run_ids, run_id)
),
accepted AS (FROM reviewed_pairs(true, true) WHERE source = 'two_answers' AND list_contains($run_ids, run_id)),
turned AS (
  SELECT p.* REPLACE (rejected_response_id AS chosen_response_id, chosen_response_id AS rejected_response_id, 1 / length_ratio AS length_ratio)
  FROM pairs AS p
  JOIN (SELECT pair_id FROM current_reviews GROUP BY pair_id HAVING bool_and(coalesce(preferred = 'rejected', false))) USING (pair_id)
  WHERE source = 'two_answers' AND list_contains($run_ids, run_id)
),
picked AS (FROM imported UNION ALL FROM accepted UNION ALL FROM turned)
FROM preference_rows('picked', 'human', $held_out)
-- The same preference may have come in several files.
QUALIFY row_number() OVER (PARTITION BY prompt_id, chosen, rejected ORDER BY pair_id) = 1
ORDER BY split DESC, pair_id;
