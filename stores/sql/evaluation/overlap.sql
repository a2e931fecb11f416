-- overlap.sql: which runs made for data took prompts whose last turn has one of these texts.
-- In: $texts: SHA-256 of each, comma-separated. Out: run_id, prompts; the run with the most first.
SELECT run_id, count(DISTINCT prompt_id) AS prompts
FROM run_prompts
JOIN prompts USING (prompt_id)
JOIN data_runs USING (run_id)
WHERE sha256(messages[-1].content) IN (SELECT unnest(string_split($texts, ',')))
GROUP BY run_id
ORDER BY prompts DESC, run_id;
