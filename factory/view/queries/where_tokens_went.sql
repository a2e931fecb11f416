-- Tokens and cost by run, stage and model.
SELECT run_id, stage, role, model, sum(calls)::BIGINT AS calls, sum(prompt_tokens)::BIGINT AS prompt_tokens,
  sum(completion_tokens)::BIGINT AS completion_tokens, sum(cost) AS cost
FROM run_cost
GROUP BY ALL
ORDER BY completion_tokens DESC NULLS LAST, run_id, stage;
