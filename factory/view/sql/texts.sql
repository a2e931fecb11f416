-- texts.sql: texts of responses. In: {ids}. Out: one row per response.
SELECT response_id, text
FROM responses
WHERE response_id IN ({ids});
