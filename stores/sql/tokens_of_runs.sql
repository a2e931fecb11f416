-- tokens_of_runs.sql: the tokens that runs have paid for, of prompts and answers.
-- In: $run_ids VARCHAR[]. Out: one row: tokens.
SELECT coalesce(sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)), 0)::BIGINT AS tokens
FROM calls
WHERE list_contains($run_ids, run_id) AND NOT from_journal
ORDER BY tokens;
