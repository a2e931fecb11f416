-- checklist.sql: a prompt's best sampled answer over its worst by its checklist, where one item tells them most clearly apart
-- (RLCF, arXiv:2507.18624).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1, $keep DOUBLE = 0.4: the share of pairs kept, those with the widest gap,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt and run, ordered by split and pair_id: split, prompt, chosen, rejected, item_gap (by how
-- much the chosen answer is better on the item on which it is most so, 0 to 1), and lineage. An answer that a reviewer wrote
-- has no scores, and is left out.
WITH compared AS (
  FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'best_over_worst' AND list_contains($run_ids, run_id)
),
gaps AS (
  SELECT pair_id, max(chosen.value - rejected.value) AS item_gap
  FROM compared AS p
  JOIN item_scores AS chosen ON chosen.run_id = p.run_id AND chosen.response_id = p.chosen_response_id
  JOIN item_scores AS rejected ON rejected.run_id = p.run_id AND rejected.response_id = p.rejected_response_id
    AND rejected.judge = chosen.judge AND rejected.item_id = chosen.item_id
  GROUP BY pair_id
  HAVING item_gap IS NOT NULL
  QUALIFY row_number() OVER (ORDER BY item_gap DESC, pair_id) <= ceil($keep * count(*) OVER ())
),
picked AS (FROM compared SEMI JOIN gaps USING (pair_id))
SELECT *
FROM preference_rows('picked', 'sampled', $held_out)
JOIN gaps USING (pair_id)
ORDER BY split DESC, pair_id;
