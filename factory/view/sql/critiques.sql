-- critiques.sql: what judges wrote about some responses. In: $run_id, $response_ids. Out: one row per judgement.
SELECT judgement_id, critique
FROM judgements
WHERE run_id = $run_id AND response_id IN (SELECT unnest($response_ids));
