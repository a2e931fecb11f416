-- facttune.sql: every sampled answer over each one whose claims are less supported (FactTune, arXiv:2311.08401, 3).
-- In:  $run_ids VARCHAR[], $min_margin DOUBLE = 0: least difference of the two supports; $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per two answers, ordered by split and pair_id: split, prompt, chosen, rejected, and lineage.
WITH picked AS (
  FROM reviewed_pairs($reviewed_only, $exclude_rejected)
  WHERE source = 'all_ordered' AND list_contains($run_ids, run_id) AND coalesce(chosen_value - rejected_value >= $min_margin, true)
)
FROM preference_rows('picked', 'sampled', $held_out)
ORDER BY split DESC, pair_id;
