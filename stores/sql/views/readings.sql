-- readings.sql: how much of what judges, comparing models and refiners wrote could be read.
-- Out: one row per run, kind and name. kind: votes, scores, item scores, comparisons, refinements, checklists or
-- meta-judgements; name: the judge's or stage's;
-- decides: whether anything depends on it; total, unreadable: votes, scores, ...
CREATE TEMP VIEW readings AS
SELECT run_id, CASE kind WHEN 'score' THEN 'scores' WHEN 'checklist' THEN 'item scores' ELSE 'votes' END AS kind, judge AS name, bool_or(decides) AS decides,
  count(*) AS total, count(*) FILTER (verdict = 'unparsed') AS unreadable
FROM judgements
WHERE kind IN ('votes', 'score', 'checklist')
GROUP BY run_id, judgements.kind, judge
UNION ALL
SELECT run_id, 'comparisons', stage, true, sum(len(votes))::BIGINT,
  sum(len(list_filter(votes, lambda vote: vote = 'unparsed')))::BIGINT
FROM comparisons
GROUP BY run_id, stage
UNION ALL
SELECT run_id, 'meta-judgements', stage, true, sum(len(votes))::BIGINT,
  sum(len(list_filter(votes, lambda vote: vote = 'unparsed')))::BIGINT
FROM meta_judgements
GROUP BY run_id, stage
UNION ALL
SELECT c.run_id, 'checklists', stage, true, count(*), count(*) FILTER (i.call_id IS NULL)
FROM calls AS c
LEFT JOIN (SELECT DISTINCT run_id, call_id FROM checklist_items) AS i USING (run_id, call_id)
WHERE error IS NULL AND (template = 'checklist' OR template LIKE '%.checklist')
GROUP BY c.run_id, stage
UNION ALL
SELECT t.run_id, 'refinements', stage, true, count(*), count(*) FILTER (state = 'unparsed')
FROM nodes
JOIN trees AS t USING (tree_id)
WHERE call_id IS NOT NULL AND parent_node_id IS NOT NULL AND strategy <> 'best_of_n'
GROUP BY t.run_id, stage;
