-- tree_pairs.sql: the pairs that responses of a tree are in. In: $run_id, $response_ids. Out: one row per pair, in order of id;
-- review: the newest verdict of each reviewer.
SELECT pair_id, run_id, prompt_id, source, chosen_response_id, rejected_response_id, chosen_value, similarity, node_id,
  coalesce(r.verdicts, []) AS reviews
FROM (
  FROM pairs
  WHERE run_id = $run_id AND prompt_id = $prompt_id
    AND (list_contains($response_ids, chosen_response_id) OR list_contains($response_ids, rejected_response_id))
) AS p
LEFT JOIN (SELECT pair_id, list(verdict ORDER BY reviewer) AS verdicts FROM current_reviews GROUP BY pair_id) AS r USING (pair_id)
ORDER BY pair_id;
