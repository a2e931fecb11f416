-- item_scores.sql: how well each response meets each item of its prompt's checklist (RLCF, arXiv:2507.18624).
-- Out: one row per run, response, judge and item: its position, text and weight; value, points: means of the readable
-- scores, NULL if none is.
CREATE TEMP VIEW item_scores AS
SELECT j.run_id, j.prompt_id, j.response_id, j.judge, j.item_id, i.position, i.text, i.weight, avg(value) AS value,
  avg(points) AS points
FROM judgements AS j
JOIN checklist_items AS i USING (item_id)
GROUP BY ALL;
