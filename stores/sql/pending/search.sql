-- search.sql: prompts that lack a tree from a failed answer: from one per prompt or, with $roots = 'every', from each.
-- The stage chooses the one answer. The first of $judges that has judged an answer decides.
-- In: $run_id, $stage, $judges, $roots. Out: prompt_id, position, in order of position.
WITH failed AS (
  SELECT prompt_id, response_id
  FROM (
    SELECT DISTINCT ON (response_id) prompt_id, response_id, passed
    FROM verdicts
    JOIN responses USING (run_id, prompt_id, response_id)
    WHERE run_id = $run_id AND responses.kind = 'sampled' AND responses.flaw IS DISTINCT FROM 'empty' AND list_contains($judges, judge)
    ORDER BY response_id, list_position($judges, judge)
  )
  WHERE NOT passed
), searched AS (
  SELECT prompt_id, root_response_id FROM trees WHERE run_id = $run_id AND stage = $stage
)
SELECT prompt_id, min(position) AS position
FROM failed
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
WHERE CASE $roots WHEN 'every' THEN response_id NOT IN (SELECT root_response_id FROM searched)
    ELSE prompt_id NOT IN (SELECT prompt_id FROM searched) END
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
