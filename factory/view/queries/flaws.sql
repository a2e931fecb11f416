-- Flaws of answers, by kind of answer and model.
SELECT r.kind, m.name AS model, flaw, count(*) AS answers
FROM responses AS r
LEFT JOIN models AS m USING (model_id)
WHERE flaw IS NOT NULL
GROUP BY ALL
ORDER BY answers DESC, kind, model, flaw;
