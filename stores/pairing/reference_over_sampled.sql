-- reference_over_sampled.sql: the reference answer over every sampled one, assuming that the model did not write it
-- (SPIN, arXiv:2401.01335).
-- In:  $run_id VARCHAR, $prompt_ids VARCHAR[] (NULL: all prompts of the run).
-- Out: one row per sampled answer whose text differs from the reference. chosen_value: NULL, as it is not judged.
SELECT a.prompt_id, reference.response_id AS chosen_response_id, a.response_id AS rejected_response_id,
  NULL::DOUBLE AS chosen_value, a.value AS rejected_value
FROM answers($run_id, $prompt_ids, NULL) AS a
JOIN responses AS sampled ON sampled.response_id = a.response_id
JOIN responses AS reference ON reference.run_id = $run_id AND reference.prompt_id = a.prompt_id
WHERE reference.kind = 'reference' AND reference.text <> sampled.text
ORDER BY a.prompt_id, chosen_response_id, rejected_response_id;
