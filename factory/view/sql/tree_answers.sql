-- tree_answers.sql: tokens generated for some responses. In: {ids} of responses. Out: one row per response.
SELECT response_id, tokens
FROM responses
WHERE response_id IN ({ids});
