-- sources.sql: where a training set's prompts come from. In: its rows as `published` (prompt_id, run_id, pair_id, response_id).
-- Out: one row per source and licence, the most rows first; NULL: unknown.
SELECT q.source, q.licence, count(DISTINCT a.prompt_id) AS prompts, count(*) AS rows
FROM published AS a
LEFT JOIN prompts AS q USING (prompt_id)
GROUP BY ALL
ORDER BY rows DESC, q.source, q.licence;
