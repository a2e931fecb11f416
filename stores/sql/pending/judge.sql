-- judge.sql: prompts with an answer that lacks this judge's verdict. The verifier judges only prompts with constraints;
-- a response without a text is no answer.
-- In: $run_id, $judges (only this judge's name), $kind. Out: prompt_id, position, in order of position.
SELECT prompt_id, min(position) AS position
FROM responses
JOIN run_prompts USING (run_id, prompt_id)
WHERE run_id = $run_id AND responses.kind = 'sampled' AND flaw IS DISTINCT FROM 'empty'
  AND response_id NOT IN (SELECT response_id FROM judgements WHERE run_id = $run_id AND judge = $judges[1])
  AND ($kind <> 'verifier' OR prompt_id IN (SELECT prompt_id FROM prompts WHERE len(constraints) > 0))
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
