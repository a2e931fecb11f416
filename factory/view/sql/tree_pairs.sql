-- tree_pairs.sql: the pairs that a tree's responses are in. In: $run_id, $prompt_id, $response_ids. Out: one row per pair;
-- reviews: each reviewer's newest verdict.
SELECT p.pair_id, p.source, p.chosen_response_id, p.rejected_response_id, p.similarity, coalesce(r.reviews, []) AS reviews
FROM (
  FROM pairs
  WHERE prompt_id = $prompt_id AND run_id = $run_id
    AND (list_contains($response_ids, chosen_response_id) OR list_contains($response_ids, rejected_response_id))
) AS p
LEFT JOIN (
  SELECT pair_id, list(verdict || ' by ' || reviewer ORDER BY reviewer) AS reviews FROM current_reviews GROUP BY pair_id
) AS r USING (pair_id)
ORDER BY p.pair_id;
