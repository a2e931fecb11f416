-- repeated.sql: ids that a table has more than once.
-- In:  nothing.  Out: table_name, id, run_id (NULL), fault.
WITH ids AS (
  SELECT 'runs' AS table_name, run_event_id AS id FROM runs
  UNION ALL SELECT 'models', model_id FROM models
  UNION ALL SELECT 'calls', call_id FROM calls
  UNION ALL SELECT 'prompts', prompt_id FROM prompts
  UNION ALL SELECT 'run_prompts', run_prompt_id FROM run_prompts
  UNION ALL SELECT 'responses', response_id FROM responses
  UNION ALL SELECT 'judgements', judgement_id FROM judgements
  UNION ALL SELECT 'comparisons', comparison_id FROM comparisons
  UNION ALL SELECT 'trees', tree_id FROM trees
  UNION ALL SELECT 'nodes', node_id FROM nodes
  UNION ALL SELECT 'pairs', pair_id FROM pairs
  UNION ALL SELECT 'training_sets', training_set_id FROM training_sets
  UNION ALL SELECT 'training_runs', training_run_id FROM training_runs
  UNION ALL SELECT 'checks', check_id FROM checks
  UNION ALL SELECT 'evaluations', evaluation_id FROM evaluations
  UNION ALL SELECT 'loops', loop_event_id FROM loops
  UNION ALL SELECT 'loop_steps', step_id FROM loop_steps
  UNION ALL SELECT 'reviews', review_id FROM reviews
  UNION ALL SELECT 'reruns', rerun_id FROM reruns
  UNION ALL SELECT 'documents', document_id FROM documents
  UNION ALL SELECT 'claims', claim_id FROM claims
  UNION ALL SELECT 'checklist_items', item_id FROM checklist_items
  UNION ALL SELECT 'meta_judgements', meta_judgement_id FROM meta_judgements
)
SELECT table_name, id, NULL::VARCHAR AS run_id, 'is there more than once' AS fault
FROM ids
GROUP BY table_name, id
HAVING count(*) > 1
ORDER BY table_name, id;
