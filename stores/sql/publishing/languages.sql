-- languages.sql: the languages of a training set's prompts. In: its rows as `published`.
-- Out: one row per language, the most prompts first; NULL: not known.
SELECT q.language, count(DISTINCT a.prompt_id) AS prompts
FROM published AS a
LEFT JOIN prompts AS q USING (prompt_id)
GROUP BY ALL
ORDER BY prompts DESC, q.language;
