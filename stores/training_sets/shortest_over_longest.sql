-- shortest_over_longest.sql: of a prompt's best answers the shortest, over the longest of its worst (Meta-Rewarding, arXiv:2407.19594).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt and run, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH picked AS (FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'shortest_over_longest' AND list_contains($run_ids, run_id))
FROM preference_rows('picked', 'sampled', $held_out)
ORDER BY split DESC, pair_id;
