-- judge.sql: prompts with an answer that lacks this judge's verdict. The verifier judges only prompts with constraints, a
-- checklist's judge only those with items; a response without a text is no answer.
-- In: $run_id, $answers_of (the run whose answers are judged; NULL: this one), $kinds (of responses), $judges (only this
-- judge's name), $kind. Out: prompt_id, position, in order of position.
SELECT prompt_id, min(position) AS position
FROM responses AS r
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
WHERE r.run_id = coalesce($answers_of, $run_id) AND list_contains($kinds, r.kind) AND flaw IS DISTINCT FROM 'empty'
  AND response_id NOT IN (SELECT response_id FROM judgements WHERE run_id = $run_id AND judge = $judges[1])
  AND ($kind <> 'verifier' OR prompt_id IN (SELECT prompt_id FROM prompts WHERE len(constraints) > 0))
  AND ($kind <> 'checklist' OR prompt_id IN (SELECT prompt_id FROM checklist_items WHERE run_id = $run_id))
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
