-- tree_answers.sql: what is known of some responses, without their texts. In: $response_ids. Out: one row per response.
SELECT r.response_id, r.tokens, r.finish_reason, r.flaw, r.choice_index, r.kind, m.name AS model
FROM responses AS r
LEFT JOIN models AS m USING (model_id)
WHERE r.response_id IN (SELECT unnest($response_ids));
