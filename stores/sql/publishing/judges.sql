-- judges.sql: who judged the answers to a training set's prompts. In: its rows as `published`, $runs VARCHAR[].
-- Out: one row per judge, kind and model: answers judged, and judgements.
SELECT judge, kind, bool_or(decides) AS decides, j.model_id, m.name AS model,
  count(DISTINCT response_id) AS answers, count(*) AS judgements
FROM judgements AS j
LEFT JOIN models AS m USING (model_id)
WHERE list_contains($runs, run_id) AND prompt_id IN (SELECT prompt_id FROM published)
GROUP BY judge, kind, j.model_id, m.name
ORDER BY decides DESC, judge, kind, m.name;
