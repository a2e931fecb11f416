-- compare_pairs.sql: pairs to be compared. In: $run (NULL: all), $prompt (NULL: all) VARCHAR, $limit BIGINT.
-- Out: one row per pair, by id: id, prompt_id, first (chosen), second (rejected), value, similarity.
SELECT pair_id AS id, p.prompt_id, chosen.text AS first, rejected.text AS second, chosen_value AS value, similarity
FROM (
  SELECT * FROM pairs
  WHERE ($run IS NULL OR run_id = $run) AND ($prompt IS NULL OR prompt_id = $prompt)
  ORDER BY pair_id
  LIMIT $limit
) AS p
JOIN responses AS chosen ON chosen.response_id = chosen_response_id
JOIN responses AS rejected ON rejected.response_id = rejected_response_id
ORDER BY id;
