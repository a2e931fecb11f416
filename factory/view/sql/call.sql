-- call.sql: a call as it was sent. In: $call_id. Out: at most one row; every column of `calls`, the model's name, and the
-- messages rendered from rows (NULL: the call has no answer); sent: SHA-256 of their JSON, to compare with messages_hash.
SELECT c.*, m.name AS model, sent.messages, sha256(to_json(sent.messages)) AS sent
FROM (FROM calls WHERE call_id = $call_id) AS c
LEFT JOIN models AS m USING (model_id)
LEFT JOIN (SELECT call_id, messages FROM call_messages WHERE call_id = $call_id) AS sent ON sent.call_id = c.call_id;
