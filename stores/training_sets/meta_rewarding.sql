-- meta_rewarding.sql: what teaches one model to answer and to judge: shortest_over_longest.sql and meta_judge.sql together
-- (Meta-Rewarding, arXiv:2407.19594).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1, $most_characters DOUBLE = NULL: the longest chosen judgement; NULL: any,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow of pairs (view reviewed_pairs).
-- Out: preference; one row per pair or judged answer, ordered by split and id: split, prompt, chosen, rejected, class (sampled,
-- edited or judgement), and lineage.
WITH picked AS (FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'shortest_over_longest' AND list_contains($run_ids, run_id)),
rows AS (
  FROM preference_rows('picked', 'sampled', $held_out)
  UNION ALL BY NAME
  FROM judgement_pairs($run_ids, $most_characters, $held_out)
)
FROM rows
ORDER BY split DESC, coalesce(pair_id, chosen_judgement_id);
