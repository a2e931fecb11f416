-- pairs_texts.sql: the beginnings of the texts of a few pairs. In: $prompts, $responses VARCHAR[]. Out: id, text.
SELECT prompt_id AS id, left(conversation(messages), 200) AS text
FROM prompts
WHERE prompt_id IN (SELECT unnest($prompts))
UNION ALL
SELECT response_id, left(text, 200)
FROM responses
WHERE response_id IN (SELECT unnest($responses));
