-- ids.sql: rows whose id is not the hash of what it stands for (schemas/ids.py).
-- In:  nothing.  Out: table_name, id, run_id (NULL: of no run), fault. Where a text in an id holds control characters, DuckDB
-- writes JSON otherwise than Python: prompts, documents and imported and edited responses that are named here have to be looked at again.
WITH hashed AS (
  SELECT 'runs' AS table_name, run_event_id AS id, run_id, 'run_event' AS kind,
    concat(to_json(run_id), ',', attempt, ',', to_json(status)) AS asked
  FROM runs
  UNION ALL
  SELECT 'models', model_id, NULL, 'model', to_json([name, revision])[2:-2] FROM models
  UNION ALL
  SELECT 'calls', call_id, run_id, 'call', to_json([run_id, request_hash])[2:-2] FROM calls
  UNION ALL
  SELECT 'prompts', prompt_id, NULL, 'prompt', concat(
    to_json(list_transform(messages, m -> {'content': m.content, 'role': m.role})), ',',
    to_json(list_transform(constraints, c -> {'id': c.id, 'kwargs': c.kwargs})), ',',
    to_json([reference, evolved_from])[2:-2])
  FROM prompts
  UNION ALL
  SELECT 'run_prompts', run_prompt_id, run_id, 'run_prompt', to_json([run_id, prompt_id])[2:-2] FROM run_prompts
  UNION ALL
  SELECT 'responses', response_id, run_id, 'response',
    concat(to_json([run_id, 'sampled', call_id])[2:-2], ',', choice_index)
  FROM responses WHERE kind = 'sampled' AND call_id IS NOT NULL
  UNION ALL
  -- Of an online training, whose policy is asked without a call.
  SELECT 'responses', response_id, run_id, 'response',
    concat(to_json([run_id, 'sampled', stage, prompt_id])[2:-2], ',', choice_index)
  FROM responses WHERE kind = 'sampled' AND call_id IS NULL
  UNION ALL
  SELECT 'responses', response_id, run_id, 'response', to_json([run_id, 'reference', prompt_id])[2:-2]
  FROM responses WHERE kind = 'reference'
  UNION ALL
  SELECT 'responses', response_id, r.run_id, 'response', to_json([r.run_id, 'refined', node_id])[2:-2]
  FROM responses AS r JOIN nodes AS n USING (response_id)
  WHERE kind IN ('refined', 'resampled') AND parent_node_id IS NOT NULL
  UNION ALL
  SELECT 'responses', response_id, run_id, 'response', to_json([run_id, 'imported', prompt_id, model_id, text])[2:-2]
  FROM responses WHERE kind = 'imported'
  UNION ALL
  SELECT 'responses', response_id, r.run_id, 'response',
    to_json([r.run_id, 'edited', p.chosen_response_id, text])[2:-2]
  FROM responses AS r
  JOIN reviews AS v ON v.edited_response_id = r.response_id
  JOIN pairs AS p ON p.pair_id = v.pair_id
  WHERE kind = 'edited'
  UNION ALL
  SELECT 'judgements', judgement_id, run_id, 'judgement',
    concat(to_json([run_id, response_id, judge, model_id])[2:-2], ',', vote)
  FROM judgements
  UNION ALL
  SELECT 'comparisons', comparison_id, run_id, 'comparison',
    to_json([run_id, stage, first_response_id, second_response_id])[2:-2]
  FROM comparisons
  UNION ALL
  SELECT 'claims', claim_id, run_id, 'claim', concat(to_json([run_id, stage, response_id])[2:-2], ',', position) FROM claims
  UNION ALL
  SELECT 'checklist_items', item_id, run_id, 'checklist_item',
    concat(to_json([run_id, stage, prompt_id])[2:-2], ',', position)
  FROM checklist_items
  UNION ALL
  SELECT 'meta_judgements', meta_judgement_id, run_id, 'meta_judgement',
    to_json([run_id, stage, first_judgement_id, second_judgement_id])[2:-2]
  FROM meta_judgements
  UNION ALL
  SELECT 'documents', document_id, NULL, 'document', to_json([source, title, text])[2:-2] FROM documents
  UNION ALL
  SELECT 'trees', tree_id, run_id, 'tree', concat(
    to_json([run_id, root_response_id])[2:-2], ',', parameters,
    CASE WHEN stage <> 'search' THEN ',' || to_json(stage) ELSE '' END)
  FROM trees
  UNION ALL
  SELECT 'nodes', node_id, run_id, 'node', concat(
    to_json([tree_id, parent_node_id])[2:-2], ',',
    row_number() OVER (PARTITION BY tree_id, parent_node_id ORDER BY visit) - 1)
  FROM nodes
  UNION ALL
  SELECT 'pairs', pair_id, run_id, 'pair',
    to_json([run_id, source, chosen_response_id, rejected_response_id])[2:-2]
  FROM pairs
  -- Until schema version 2 the two pairings had other names; a migration keeps the ids.
  WHERE pair_id <> sha256(concat('["pair",1,', to_json([
    run_id, CASE source WHEN 'refined_over_failed' THEN 'tree' WHEN 'passing_over_failing' THEN 'sampling' ELSE source END,
    chosen_response_id, rejected_response_id])[2:-2], ']'))[:32]
  UNION ALL
  SELECT 'reviews', review_id, run_id, 'review', ''
  FROM (SELECT *, count(*) OVER (PARTITION BY pair_id, reviewer) AS times FROM reviews)
  -- In which order a reviewer judged a pair, a clock that was set back does not tell.
  WHERE NOT list_contains(list_transform(range(times), earlier ->
    sha256(concat('["review",1,', to_json([pair_id, reviewer])[2:-2], ',', earlier, ']'))[:32]), review_id)
  UNION ALL
  SELECT 'training_sets', training_set_id, NULL, 'training_set',
    concat(to_json(name), ',', version, ',', to_json(fingerprint))
  FROM training_sets
  UNION ALL
  SELECT 'checks', check_id, run_id, 'check', concat(to_json([run_id, response_id])[2:-2], ',', position) FROM checks
  UNION ALL
  SELECT 'loops', loop_event_id, NULL, 'loop_event',
    concat(to_json(loop_id), ',', attempt, ',', to_json(status))
  FROM loops
  UNION ALL
  SELECT 'loop_steps', step_id, NULL, 'loop_step',
    concat(to_json(loop_id), ',', round, ',', to_json([step, role])[2:-2])
  FROM loop_steps
)
SELECT table_name, id, run_id, 'its id is not the hash of what it stands for' AS fault
FROM hashed
WHERE id <> sha256(concat('["', kind, '",1,', asked, ']'))[:32]
ORDER BY table_name, id;
