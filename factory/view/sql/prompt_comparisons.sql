-- prompt_comparisons.sql: comparisons of the answers to a prompt. In: $prompt_id. Out: one row per comparison: both responses in
-- the order shown, the probability that the first is better (NULL: not readable), who compared, and the call.
SELECT run_id, stage, first_response_id, second_response_id, probability, name AS model, call_id
FROM (FROM comparisons WHERE prompt_id = $prompt_id)
LEFT JOIN models USING (model_id)
ORDER BY run_id, stage, first_response_id, second_response_id;
