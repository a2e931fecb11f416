-- tree_calls.sql: the calls that a tree's stage made for its prompt. In: $run_id, $prompt_id, $stage. Out: one row per call.
SELECT call_id, role, template, response_ids, choices, prompt_tokens, completion_tokens, from_journal
FROM calls
WHERE prompt_id = $prompt_id AND run_id = $run_id AND stage = $stage;
