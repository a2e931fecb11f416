-- sppo.sql: the answer with the highest win rate over that with the lowest, with both (SPPO, arXiv:2405.00675, 4).
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1,
--      $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true: what people's reviews allow (view reviewed_pairs).
-- Out: preference; one row per prompt and run, ordered by split and pair_id: split, prompt, chosen, rejected, chosen_win_rate,
-- rejected_win_rate, and lineage. An answer that a reviewer wrote has no win rate, and is left out.
WITH picked AS (FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE source = 'best_over_worst' AND list_contains($run_ids, run_id))
SELECT *, chosen_value AS chosen_win_rate, rejected_value AS rejected_win_rate
FROM preference_rows('picked', 'sampled', $held_out)
WHERE chosen_value IS NOT NULL
ORDER BY split DESC, pair_id;
