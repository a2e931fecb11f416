-- texts.sql: texts of responses. In: $response_ids. Out: one row per response.
SELECT response_id, text
FROM responses
WHERE response_id IN (SELECT unnest($response_ids));
