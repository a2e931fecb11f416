-- What online trainings paid each answer, the best first. In: $run VARCHAR = ''.
SELECT run_id, stage, reward, prompt_id, text
FROM rewards
JOIN responses USING (run_id, prompt_id, response_id, stage)
WHERE $run IN ('', run_id)
ORDER BY reward DESC NULLS LAST, run_id, response_id;
