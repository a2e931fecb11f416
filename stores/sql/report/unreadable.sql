-- unreadable.sql: what a run's models wrote that could not be read, with one example of each kind.
-- In: $run_id. Out: one row per kind and name that has any: kind, name, decides, total, unreadable, example.
SELECT kind, name, decides, total, unreadable,
  CASE kind
    WHEN 'comparisons' THEN (
      SELECT arg_min(list_extract(rationales, list_position(votes, 'unparsed')), comparison_id)
      FROM comparisons AS c
      WHERE c.run_id = $run_id AND c.stage = readings.name AND list_contains(votes, 'unparsed'))
    WHEN 'meta-judgements' THEN (
      SELECT arg_min(list_extract(rationales, list_position(votes, 'unparsed')), meta_judgement_id)
      FROM meta_judgements AS m
      WHERE m.run_id = $run_id AND m.stage = readings.name AND list_contains(votes, 'unparsed'))
    WHEN 'checklists' THEN (
      SELECT arg_min(note, call_id) FROM calls AS c
      WHERE c.run_id = $run_id AND c.stage = readings.name AND contains(note, 'no checklist item can be read'))
    WHEN 'refinements' THEN (
      SELECT arg_min(output, node_id) FROM nodes JOIN trees AS t USING (tree_id)
      WHERE t.run_id = $run_id AND t.stage = readings.name AND state = 'unparsed' AND output IS NOT NULL)
    ELSE (
      SELECT arg_min(critique, judgement_id) FROM judgements AS j
      WHERE j.run_id = $run_id AND j.judge = readings.name AND verdict = 'unparsed')
  END AS example
FROM readings
WHERE run_id = $run_id AND unreadable > 0
ORDER BY kind, name;
