-- prompt_head.sql: a prompt. In: $prompt_id. Out: at most one row: every column of `prompts` and the conversation as text.
SELECT *, conversation(messages) AS text
FROM prompts AS q
WHERE q.prompt_id = $prompt_id;
